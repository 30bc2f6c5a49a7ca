//! Another Rust static library, which a program links beside Kinglet's: its copy of Rust's standard library must not clash with ours.
//! It allocates, spawns a thread and catches a panic, so that each copy is really used.

#[unsafe(no_mangle)]
pub extern "C" fn other_sum(count: u32) -> u64 {
    let numbers: Vec<u64> = (0..u64::from(count)).collect();
    std::thread::spawn(move || numbers.iter().sum()).join().unwrap_or(0)
}

#[unsafe(no_mangle)]
pub extern "C" fn other_catches() -> i32 {
    std::panic::set_hook(Box::new(|_| {}));
    i32::from(std::panic::catch_unwind(|| panic!("caught")).is_err())
}
