//! Emulated tiles for tests on machines without AMX: the handler of invalid instructions decodes and executes them as in Intel's manual.
//!
//! Only the instructions of `tiles.rs` are supported. A breach of the manual's rules ends the process, because a signal handler cannot
//! return an error.

use std::cell::{Cell, UnsafeCell};
use std::io::Write;
use std::sync::Once;

use super::super::avx512::Avx512;
use super::{Amx, detected};

/// Rows of a tile and bytes of its rows, at most.
const ROWS: usize = 16;
const ROW_BYTES: usize = 64;
const TILES: usize = 8;

/// The tiles of one thread.
struct State {
    configured: bool,
    rows: [usize; TILES],
    row_bytes: [usize; TILES],
    data: [[[u8; ROW_BYTES]; ROWS]; TILES],
}

thread_local! {
    static STATE: UnsafeCell<State> = const {
        UnsafeCell::new(State {
            configured: false,
            rows: [0; TILES],
            row_bytes: [0; TILES],
            data: [[[0; ROW_BYTES]; ROWS]; TILES],
        })
    };
    static DONE: Cell<usize> = const { Cell::new(0) };
    static BOUNDS: Cell<[(usize, usize); TILES]> = const { Cell::new([(0, usize::MAX); TILES]) };
}

/// The kernel, on the machine's tiles or on emulated ones; or why there is neither.
pub(in crate::kernels) fn kernel() -> Result<Amx, &'static str> {
    if Avx512::new().is_none() {
        return Err("this machine has no AVX-512 VNNI, which the AMX kernel builds on");
    }
    if detected() {
        return Amx::new().ok_or("the system refused the permission for tiles");
    }
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install);
    Ok(Amx(()))
}

/// What the kernel runs on.
pub(in crate::kernels) fn describe() -> &'static str {
    if detected() { "tiles are native" } else { "tiles are emulated" }
}

/// Instructions emulated on this thread so far; None where the machine has tiles.
pub(in crate::kernels) fn done() -> Option<usize> {
    (!detected()).then(|| DONE.get())
}

/// Whether this thread's tiles are configured; None if that is unknown.
pub(in crate::kernels) fn configured() -> Option<bool> {
    // SAFETY: this thread's own state, and no tile instruction runs meanwhile.
    (!detected()).then(|| STATE.with(|state| unsafe { (*state.get()).configured }))
}

/// Runs something during which this thread's tiles of activations and of weights are loaded from this memory only.
pub(in crate::kernels) fn within(activations: &[u8], weights: &[u8], run: impl FnOnce()) {
    let before = BOUNDS.get();
    let mut bounds = before;
    for (tiles, memory) in [(4..6, activations), (6..8, weights)] {
        let start = memory.as_ptr() as usize;
        bounds[tiles].fill((start, start + memory.len()));
    }
    BOUNDS.set(bounds);
    run();
    BOUNDS.set(before);
}

fn install() {
    // SAFETY: zeroes are a valid action without flags; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut()), 0);
    }
}

extern "C" fn handle(_signal: libc::c_int, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system hands over the context of the instruction that this thread was about to run. The state is not
    // borrowed elsewhere: the handler runs in place of a tile instruction.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let decoded = Instruction::decode(registers);
        let done = decoded.is_some_and(|i| STATE.with(|state| i.run(&mut *state.get())));
        if !done {
            // Another instruction: executed again, it ends the process as without the handler.
            libc::signal(libc::SIGILL, libc::SIG_DFL);
            return;
        }
        DONE.set(DONE.get() + 1);
        registers[libc::REG_RIP as usize] += decoded.map_or(0, |i| i.length) as i64;
    }
}

/// An instruction of three VEX bytes, an opcode and a ModRM byte.
#[derive(Clone, Copy)]
struct Instruction {
    /// The implied prefix: 0 for none, 1 for 66, 2 for F3, 3 for F2.
    prefix: u8,
    opcode: u8,
    /// The three register operands, in the manual's names. `rm` means nothing if there is an address.
    reg: usize,
    rm: usize,
    vvvv: usize,
    /// Base and displacement, and the index, which is a stride.
    address: Option<(usize, usize)>,
    length: usize,
}

/// General registers in the order of their numbers in instructions.
const NUMBERED: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

impl Instruction {
    /// None for instructions that `tiles.rs` does not use.
    ///
    /// # Safety
    /// The registers are those of code that is about to run an instruction.
    unsafe fn decode(registers: &[i64; 23]) -> Option<Self> {
        let code = registers[libc::REG_RIP as usize] as *const u8;
        let value = |number: usize| registers[NUMBERED[number] as usize] as usize;
        // SAFETY: the processor read the instruction from there; each byte is looked at only if those before it say
        // that the instruction goes on.
        unsafe {
            if *code != 0xc4 || *code.add(1) & 0x1f != 2 {
                return None;
            }
            // Bits of registers beyond 7 are stored inverted.
            let (high, vex) = (!*code.add(1), *code.add(2));
            // W and the length are 0.
            if vex & 0x84 != 0 {
                return None;
            }
            let (opcode, modrm) = (*code.add(3), *code.add(4));
            let mut instruction = Self {
                prefix: vex & 3,
                opcode,
                reg: usize::from(modrm >> 3 & 7) | usize::from(high >> 7) << 3,
                rm: usize::from(modrm & 7) | usize::from(high >> 5 & 1) << 3,
                vvvv: usize::from(!vex >> 3 & 15),
                address: None,
                length: 5,
            };
            let mode = modrm >> 6;
            if mode == 3 {
                return Some(instruction);
            }
            let (mut base, mut stride) = (instruction.rm, 0);
            if modrm & 7 == 4 {
                let sib = *code.add(5);
                instruction.length += 1;
                base = usize::from(sib & 7) | usize::from(high >> 5 & 1) << 3;
                let index = usize::from(sib >> 3 & 7) | usize::from(high >> 6 & 1) << 3;
                if index != 4 {
                    stride = value(index) << (sib >> 6);
                }
            }
            // Without a base, or relative to the instruction pointer.
            if mode == 0 && base & 7 == 5 {
                return None;
            }
            let displacement = code.add(instruction.length);
            let displacement = match mode {
                0 => 0,
                1 => isize::from(*displacement.cast::<i8>()),
                _ => displacement.cast::<i32>().read_unaligned() as isize,
            };
            instruction.length += [0, 1, 4][usize::from(mode)];
            instruction.address = Some((value(base).wrapping_add_signed(displacement), stride));
            Some(instruction)
        }
    }

    /// Executes it; false for other instructions.
    ///
    /// # Safety
    /// The instruction was about to run on this thread, which has these tiles.
    unsafe fn run(self, tiles: &mut State) -> bool {
        // SAFETY: memory is what the instruction's author promised that it may access.
        unsafe {
            match (self.opcode, self.prefix, self.address) {
                (0x49, 0, Some((from, _))) if self.reg == 0 => tiles.configure(from as *const u8),
                (0x49, 0, None) if self.reg == 0 && self.rm == 0 => tiles.reset(),
                (0x49, 3, None) if self.rm == 0 => {
                    tiles.used(self.reg);
                    tiles.data[self.reg] = [[0; ROW_BYTES]; ROWS];
                }
                (0x4b, 3, Some((from, stride))) => tiles.load(self.reg, from, stride),
                (0x4b, 2, Some((to, stride))) => tiles.store(self.reg, to, stride),
                (0x5e, 1, None) => tiles.dot(self.reg, self.rm, self.vvvv, bytes),
                (0x5c, 2, None) => tiles.dot(self.reg, self.rm, self.vvvv, pairs),
                _ => return false,
            }
        }
        true
    }
}

/// Ends the process over a breach of the manual's rules.
#[cold]
fn forbidden(what: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "emulated tiles: {what}");
    std::process::abort()
}

fn demand(holds: bool, what: &str) {
    if !holds {
        forbidden(what);
    }
}

impl State {
    fn reset(&mut self) {
        self.configured = false;
        self.rows = [0; TILES];
        self.row_bytes = [0; TILES];
        self.data = [[[0; ROW_BYTES]; ROWS]; TILES];
    }

    /// # Safety
    /// 64 bytes can be read.
    unsafe fn configure(&mut self, from: *const u8) {
        // SAFETY: the caller's promise.
        let config = unsafe { from.cast::<[u8; 64]>().read() };
        demand(config[0] == 1, "a palette other than 1");
        demand(config[1] == 0, "a first row other than 0, which only an interrupted load leaves");
        self.reset();
        demand(config[2..16].iter().all(|&b| b == 0), "reserved bytes");
        for tile in 0..16 {
            let row_bytes = usize::from(u16::from_le_bytes([config[16 + 2 * tile], config[17 + 2 * tile]]));
            let rows = usize::from(config[48 + tile]);
            demand(rows <= ROWS && row_bytes <= ROW_BYTES, "a tile too large");
            demand((rows == 0) == (row_bytes == 0), "a tile with rows but no columns, or the reverse");
            if tile < TILES {
                (self.rows[tile], self.row_bytes[tile]) = (rows, row_bytes);
            } else {
                demand(rows == 0, "a tile that does not exist");
            }
        }
        self.configured = true;
    }

    fn used(&self, tile: usize) {
        demand(self.configured, "a tile instruction before tiles are configured");
        demand(tile < TILES && self.rows[tile] > 0, "a tile without a shape");
    }

    /// # Safety
    /// The tile's rows can be read.
    unsafe fn load(&mut self, tile: usize, from: usize, stride: usize) {
        self.used(tile);
        let (start, end) = BOUNDS.get()[tile];
        let mut data = [[0; ROW_BYTES]; ROWS];
        for (row, to) in data.iter_mut().enumerate().take(self.rows[tile]) {
            let row = from.wrapping_add(row.wrapping_mul(stride));
            demand(row >= start && row + self.row_bytes[tile] <= end, "a load outside the memory it is bound to");
            // SAFETY: the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(row as *const u8, to.as_mut_ptr(), self.row_bytes[tile]) };
        }
        self.data[tile] = data;
    }

    /// # Safety
    /// The tile's rows can be written.
    unsafe fn store(&self, tile: usize, to: usize, stride: usize) {
        self.used(tile);
        for (row, from) in self.data[tile].iter().enumerate().take(self.rows[tile]) {
            let row = to.wrapping_add(row.wrapping_mul(stride));
            // SAFETY: the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), row as *mut u8, self.row_bytes[tile]) };
        }
    }

    /// Rows of `a` times columns of `b`, added to the sums: `add` gives a new sum from an old one, a row and a column.
    fn dot(&mut self, sums: usize, a: usize, b: usize, add: fn(Dword, &[Dword], &[Dword]) -> Dword) {
        for tile in [sums, a, b] {
            self.used(tile);
        }
        demand(sums != a && sums != b && a != b, "a tile used twice");
        demand(self.rows[sums] == self.rows[a] && self.row_bytes[sums] == self.row_bytes[b], "shapes that do not fit");
        demand(self.row_bytes[a] == 4 * self.rows[b], "depths that do not fit");
        demand(self.row_bytes[b].is_multiple_of(4), "columns that are no multiple of 32 bits");
        let depth = self.rows[b];
        for m in 0..self.rows[sums] {
            let (left, _) = self.data[a][m].as_chunks::<4>();
            let mut row = [[0u8; 4]; ROW_BYTES / 4];
            for (n, to) in row.iter_mut().enumerate().take(self.row_bytes[sums] / 4) {
                let dword = |row: &[u8; ROW_BYTES]| -> Dword { row.as_chunks::<4>().0[n] };
                let mut column = [[0; 4]; ROWS];
                column.iter_mut().zip(&self.data[b]).for_each(|(to, row)| *to = dword(row));
                *to = add(dword(&self.data[sums][m]), &left[..depth], &column[..depth]);
            }
            self.data[sums][m] = *row.as_flattened().as_array().unwrap();
        }
    }
}

/// 32 bits of a tile.
type Dword = [u8; 4];

/// TDPBUSD: unsigned bytes of `a` times signed bytes of `b`.
fn bytes(sum: Dword, a: &[Dword], b: &[Dword]) -> Dword {
    let products = a.as_flattened().iter().zip(b.as_flattened()).map(|(a, b)| i32::from(*a) * i32::from(*b as i8));
    products.fold(i32::from_le_bytes(sum), i32::wrapping_add).to_le_bytes()
}

/// TDPBF16PS: sums of even and of odd products, fused and begun at 0, then both together, then with what was there. Denormals are 0
/// before and after each operation.
fn pairs(sum: Dword, a: &[Dword], b: &[Dword]) -> Dword {
    let flush = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
    let half = |x: &Dword, i: usize| flush(f32::from_bits(u32::from(x[2 * i]) << 16 | u32::from(x[2 * i + 1]) << 24));
    let mut sums = [0.0f32; 2];
    for (a, b) in a.iter().zip(b) {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = flush(half(a, i).mul_add(half(b, i), *sum));
        }
    }
    let both = flush(sums[0] + sums[1]);
    flush(flush(f32::from_le_bytes(sum)) + both).to_le_bytes()
}
