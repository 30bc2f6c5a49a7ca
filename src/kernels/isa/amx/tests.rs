//! The AMX kernel against the AVX-512 kernel, whose bits it has to have, and against the plain reference.
//!
//! Where the machine has no tiles, `emulate.rs` does their instructions.

use std::io::Write;

use super::super::isa::amx::emulate;
use super::super::isa::avx512::Avx512;
use super::*;

/// Both kernels, or a line on the real stderr (the test harness keeps the other one to itself) and nothing.
fn kernels(test: &str) -> Option<(Box<dyn Kernel>, Box<dyn Kernel>)> {
    let line = match (emulate::kernel(), Avx512::new()) {
        (Ok(amx), Some(avx512)) => {
            let _ = writeln!(std::io::stderr(), "{test}: {}", emulate::describe());
            return Some((Box::new(amx), Box::new(avx512)));
        }
        (Err(why), _) => why,
        (_, None) => "this machine has no AVX-512 VNNI",
    };
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {line}");
    None
}

struct Case {
    w: Weight,
    x: Activations,
    bias: Vec<f32>,
    before: Vec<f32>,
    rows: usize,
    outputs: usize,
}

impl Case {
    fn new(kernel: &dyn Kernel, rows: usize, inputs: usize, outputs: usize) -> Self {
        Self::of(Precision::Int8, kernel, rows, inputs, outputs)
    }

    fn pairs(kernel: &dyn Kernel, rows: usize, inputs: usize, outputs: usize) -> Self {
        Self::of(Precision::Bf16, kernel, rows, inputs, outputs)
    }

    fn of(precision: Precision, kernel: &dyn Kernel, rows: usize, inputs: usize, outputs: usize) -> Self {
        let mut numbers = Numbers((rows * 10_000 + inputs * 100 + outputs) as u64);
        let (a, w) = (numbers.vec(rows * inputs), numbers.vec(outputs * inputs));
        let w = pack(precision, outputs, inputs, &w);
        let x = Activations::new(kernel, &w, &a);
        Self { w, x, bias: numbers.vec(outputs), before: numbers.vec(rows * outputs), rows, outputs }
    }

    /// The bytes of all activations and of all weights.
    fn operands(&self) -> (&[u8], &[u8]) {
        let (a, bytes) = match self.x.input() {
            Input::I8(a, _) => (a.data, a.stride * a.rows),
            Input::Bf16(a) => (a.data.cast(), 2 * a.stride * a.rows),
            Input::F32(_) | Input::Groups(..) => unreachable!("not what tiles multiply"),
        };
        // SAFETY: that many bytes are there.
        (unsafe { std::slice::from_raw_parts(a, bytes) }, &self.w.bytes()[..bytes / self.rows * BLOCK * self.blocks()])
    }

    fn blocks(&self) -> usize {
        self.outputs.div_ceil(BLOCK)
    }

    /// With everything that an epilogue can do, in parts of so many rows and blocks.
    fn run(&self, kernel: &dyn Kernel, rows: usize, blocks: usize) -> Vec<f32> {
        let mut out = self.before.clone();
        let e = Epilogue {
            bias: Some(&self.bias),
            activation: Activation::Gelu,
            residual: Some((std::ptr::null(), self.outputs)),
        };
        for row in (0..self.rows).step_by(rows) {
            for block in (0..self.blocks()).step_by(blocks) {
                let (r, b) = (row..self.rows.min(row + rows), block..self.blocks().min(block + blocks));
                run(kernel, &self.x, &self.w, r, b, &mut out, &e);
            }
        }
        out
    }
}

/// Rows, inputs, outputs: all shapes of tiles; inputs of less than a chunk, of ragged chunks and of several depths; and
/// blocks alone, in pairs and partial.
fn tile_shapes() -> impl Iterator<Item = (usize, usize, usize)> {
    let rows = (7..=18).chain([24, 31, 32, 33, 40, 48, 49, 64, 95, 96, 97, 113, 131]).map(|rows| (rows, 68, 33));
    let inputs = [1, 60, 63, 64, 65, 100, 124, 127, 128, 192, 384, 768, 769, 832, 1540, 2304].map(|k| (37, k, 20));
    let outputs = [1, 15, 16, 17, 31, 32, 33, 48, 100].into_iter().flat_map(|n| [(9, 130, n), (41, 64, n)]);
    rows.chain(inputs).chain(outputs)
}

#[test]
fn tiles_have_the_bits_of_avx512() {
    let Some((amx, avx512)) = kernels("tiles_have_the_bits_of_avx512") else { return };
    for (rows, inputs, outputs) in tile_shapes() {
        let case = Case::new(&*avx512, rows, inputs, outputs);
        let before = emulate::done();
        let got = case.run(&*amx, rows, case.blocks());
        assert_same_bits(&got, &case.run(&*avx512, rows, case.blocks()));
        if let (Some(before), Some(after)) = (before, emulate::done()) {
            assert_eq!(after > before, rows >= 8 && inputs > 60, "{rows}x{inputs}x{outputs} took the other path");
        }
        assert_ne!(emulate::configured(), Some(true), "the thread's tiles are not released");
    }
}

#[test]
fn tiles_agree_with_the_reference() {
    let Some((amx, _)) = kernels("tiles_agree_with_the_reference") else { return };
    for (rows, inputs, outputs) in tile_shapes() {
        let case = Case::new(&*amx, rows, inputs, outputs);
        let mut out = vec![f32::NAN; rows * outputs];
        run(&*amx, &case.x, &case.w, 0..rows, 0..case.blocks(), &mut out, &PLAIN);
        for (i, &got) in out.iter().enumerate() {
            let (want, tolerance) = reference(&*amx, &case.x, &case.w, i / outputs, i % outputs);
            close(&format_args!("{rows}x{inputs}x{outputs} at {i}"), got, want, tolerance);
        }
    }
}

#[test]
fn tiles_have_the_same_bits_however_split() {
    let Some((amx, _)) = kernels("tiles_have_the_same_bits_however_split") else { return };
    let case = Case::new(&*amx, 101, 204, 90);
    let whole = case.run(&*amx, 101, case.blocks());
    for rows in [1, 3, 7, 8, 9, 16, 17, 31, 32, 33, 50, 96, 100] {
        for blocks in [1, 2, 3, 5] {
            assert_same_bits(&whole, &case.run(&*amx, rows, blocks));
        }
    }
}

#[test]
fn tiles_have_the_same_bits_on_every_thread() {
    let Some((amx, _)) = kernels("tiles_have_the_same_bits_on_every_thread") else { return };
    let case = Case::new(&*amx, 45, 320, 70);
    let whole = case.run(&*amx, 45, case.blocks());
    // Configuration is a thread's own: each has to make it, and none may leave it to the next product.
    std::thread::scope(|scope| {
        for rows in [8, 13, 32, 45] {
            let (case, whole, amx) = (&case, &whole, &amx);
            scope.spawn(move || {
                for _ in 0..3 {
                    assert_same_bits(whole, &case.run(&**amx, rows, case.blocks()));
                    assert_ne!(emulate::configured(), Some(true));
                }
            });
        }
    });
}

#[test]
fn extreme_bytes_do_not_saturate_in_tiles() {
    let Some((amx, _)) = kernels("extreme_bytes_do_not_saturate_in_tiles") else { return };
    let (rows, inputs) = (17, 4096 + 12);
    for sign in [1i8, -1] {
        let w = pack(Precision::Int8, 2, inputs, &vec![f32::from(sign); 2 * inputs]);
        let bytes = vec![255u8; rows * inputs];
        let scales = vec![RowScale { scale: 1.0, zero: 0 }; rows];
        let mut out = vec![0.0; rows * 2];
        let a = Input::I8(Rows { data: bytes.as_ptr(), stride: inputs, rows }, &scales);
        // SAFETY: all rows and both outputs are there.
        unsafe { amx.linear(a, &w, 0..1, Out { data: out.as_mut_ptr(), stride: 2 }, &PLAIN) };
        let (_, scale, _) = weight::bytes_of(&w, 0);
        let want = (255 * 127 * i32::from(sign) * inputs as i32) as f32 * scale;
        assert!(out.iter().all(|&x| x == want), "{out:?} is not {want}");
    }
}

/// All remainders of tiles, strips, chunks and pairs of blocks, for bf16.
fn pair_shapes() -> impl Iterator<Item = (usize, usize, usize)> {
    let rows = (1..=18).chain([31, 32, 33, 49, 97]).map(|rows| (rows, 70, 33));
    let inputs = [1, 2, 31, 32, 33, 63, 64, 65, 127, 384, 769].map(|k| (5, k, 20));
    let outputs = [1, 16, 17, 32, 48, 100].map(|n| (3, 64, n));
    rows.chain(inputs).chain(outputs)
}

#[test]
fn pairs_in_tiles_agree_with_the_reference() {
    let Some((amx, _)) = kernels("pairs_in_tiles_agree_with_the_reference") else { return };
    for (rows, inputs, outputs) in pair_shapes() {
        let case = Case::pairs(&*amx, rows, inputs, outputs);
        let mut out = vec![f32::NAN; rows * outputs];
        let before = emulate::done();
        run(&*amx, &case.x, &case.w, 0..rows, 0..case.blocks(), &mut out, &PLAIN);
        if let (Some(before), Some(after)) = (before, emulate::done()) {
            assert_eq!(after > before, inputs >= 31, "{rows}x{inputs}x{outputs} took the other path");
        }
        assert_ne!(emulate::configured(), Some(true), "the thread's tiles are not released");
        for (i, &got) in out.iter().enumerate() {
            let (want, tolerance) = reference(&*amx, &case.x, &case.w, i / outputs, i % outputs);
            close(&format_args!("{rows}x{inputs}x{outputs} at {i}"), got, want, tolerance);
        }
    }
}

#[test]
fn pairs_in_tiles_have_the_same_bits_however_split() {
    let Some((amx, _)) = kernels("pairs_in_tiles_have_the_same_bits_however_split") else { return };
    // More chunks than fit one depth, and inputs behind the last.
    for inputs in [32, 70, 450] {
        let case = Case::pairs(&*amx, 61, inputs, 36);
        let whole = case.run(&*amx, 61, case.blocks());
        for rows in 1..=40 {
            assert_same_bits(&whole, &case.run(&*amx, rows, 1 + rows % case.blocks()));
        }
    }
}

/// The order and the rounding of the manual, in numbers that any other order would lose.
#[test]
fn pairs_are_summed_as_the_manual_says() {
    let Some((amx, _)) = kernels("pairs_are_summed_as_the_manual_says") else { return };
    let big = 2f32.powi(24);
    let product = |a: &[(usize, f32)], w: &[(usize, f32)]| {
        let mut row = vec![0.0f32; 96];
        a.iter().for_each(|&(k, x)| row[k] = x);
        let mut weights = [0.0f32; 96];
        w.iter().for_each(|&(k, x)| weights[k] = x);
        let w = pack(Precision::Bf16, 1, 96, &weights);
        let mut out = [f32::NAN];
        run(&*amx, &Activations::new(&*amx, &w, &row), &w, 0..1, 0..1, &mut out, &PLAIN);
        out[0]
    };
    let ones: Vec<(usize, f32)> = (0..96).map(|k| (k, 1.0)).collect();
    // Even and odd inputs are summed apart: the 1 meets 2²⁴ after -2²⁴ did, or before.
    assert_eq!(product(&[(0, big), (2, -big), (4, 1.0)], &ones), 1.0);
    assert_eq!(product(&[(0, big), (1, 1.0), (2, -big)], &ones), 1.0);
    assert_eq!(product(&[(0, big), (2, 1.0), (4, -big)], &ones), 0.0);
    // So are chunks.
    assert_eq!(product(&[(0, big), (1, -big), (32, 1.0)], &ones), 1.0);
    assert_eq!(product(&[(0, big), (32, 1.0), (64, -big)], &ones), 0.0);
    // Denormals are 0, going in and coming out.
    assert_eq!(product(&[(0, 1e-39)], &[(0, 1e38)]), 0.0);
    assert_eq!(product(&[(0, 1e-20)], &[(0, 1e-20)]), 0.0);
    assert!(product(&[(0, f32::NAN)], &ones).is_nan());
    assert_eq!(product(&[(5, f32::INFINITY)], &ones), f32::INFINITY);
}

/// Bytes that end at an inaccessible page.
struct Guarded {
    map: *mut u8,
    room: usize,
    page: usize,
}

impl Guarded {
    fn new(bytes: usize) -> Self {
        // SAFETY: a new mapping, whose last page is then taken away.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let room = bytes.next_multiple_of(page);
            let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let map = libc::mmap(std::ptr::null_mut(), room + page, access, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(map.byte_add(room), page, libc::PROT_NONE), 0);
            Self { map: map.cast(), room, page }
        }
    }

    fn last<T>(&mut self, count: usize) -> &mut [T] {
        assert!(count * size_of::<T>() <= self.room);
        // SAFETY: within the mapping; zeroes, or what was written before as numbers, are numbers.
        unsafe { std::slice::from_raw_parts_mut(self.map.add(self.room - count * size_of::<T>()).cast(), count) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping is its own.
        unsafe { libc::munmap(self.map.cast(), self.room + self.page) };
    }
}

/// Compares the product of a case whose activations and output end at an inaccessible page with another kernel's.
fn stays_within(case: &Case, amx: &dyn Kernel, other: &dyn Kernel) {
    let (activations, weights) = case.operands();
    let (mut from, mut to) = (Guarded::new(activations.len()), Guarded::new(case.rows * case.outputs * 4));
    let from = from.last::<u8>(activations.len());
    from.copy_from_slice(activations);
    let to = to.last::<f32>(case.rows * case.outputs);
    let a = match case.x.input() {
        Input::I8(a, scales) => Input::I8(Rows { data: from.as_ptr(), ..a }, scales),
        Input::Bf16(a) => Input::Bf16(Rows { data: from.as_ptr().cast(), ..a }),
        Input::F32(_) | Input::Groups(..) => unreachable!("not what tiles multiply"),
    };
    let out = Out { data: to.as_mut_ptr(), stride: case.outputs };
    let e = Epilogue { bias: Some(&case.bias), activation: Activation::Gelu, residual: None };
    emulate::within(from, weights, || {
        // SAFETY: all rows and all outputs are there.
        unsafe { amx.linear(a, &case.w, 0..case.blocks(), out, &e) };
    });
    let mut want = vec![0.0; case.rows * case.outputs];
    run(other, &case.x, &case.w, 0..case.rows, 0..case.blocks(), &mut want, &e);
    assert_same_bits(to, &want);
}

#[test]
fn tiles_stay_within_their_buffers() {
    let Some((amx, avx512)) = kernels("tiles_stay_within_their_buffers") else { return };
    for (rows, inputs, outputs) in tile_shapes() {
        stays_within(&Case::new(&*avx512, rows, inputs, outputs), &*amx, &*avx512);
    }
}

#[test]
fn pairs_in_tiles_stay_within_their_buffers() {
    let Some((amx, _)) = kernels("pairs_in_tiles_stay_within_their_buffers") else { return };
    for (rows, inputs, outputs) in pair_shapes() {
        stays_within(&Case::pairs(&*amx, rows, inputs, outputs), &*amx, &*amx);
    }
}

#[test]
fn attention_in_tiles_agrees_with_the_reference() {
    let Some((amx, _)) = kernels("attention_in_tiles_agrees_with_the_reference") else { return };
    for (tokens, dim) in [(1, 8), (16, 32), (17, 20), (49, 100), (150, 64)] {
        let heads = attention::Heads::new(tokens, dim);
        let before = emulate::done();
        let out = attention::attend(&*amx, true, &heads, 0..tokens, None, None);
        if let (Some(before), Some(after)) = (before, emulate::done()) {
            assert!(after > before, "{tokens}x{dim} took the other path");
        }
        assert_ne!(emulate::configured(), Some(true), "the thread's tiles are not released");
        for query in (0..tokens).step_by(1 + tokens / 9) {
            for (d, want) in heads.reference(query, None, None).into_iter().enumerate() {
                close(&format_args!("{tokens}x{dim}, query {query}"), out[query * dim + d], want, 2e-2);
            }
        }
    }
}
