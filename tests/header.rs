//! `include/kinglet.h` is what cbindgen makes of `src/ffi`. To regenerate it: `make header`.

use std::path::Path;

#[test]
fn header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_root_or_default(root);
    // The module file leads to all the others.
    let builder = cbindgen::Builder::new().with_config(config).with_src(root.join("src/ffi/mod.rs"));
    let mut made = Vec::new();
    builder.generate().expect("cbindgen reads src/ffi").write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = root.join("include/kinglet.h");
    if std::env::var_os("KINGLET_UPDATE_HEADER").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).expect("include/kinglet.h");
    assert!(made == committed, "include/kinglet.h is not what src/ffi says; run `make header` and commit the result");
}
