use super::*;

/// A decoder in three parts: the first has no tensors, as `--no-tensor-first-split` writes it.
fn parts() -> Vec<File> {
    let mut whole = decoder("llama");
    let tensors = std::mem::take(&mut whole.tensors);
    let count = tensors.len() as u32;
    let split = |file: File, number: u32| {
        file.number("split.no", number).number("split.count", 3).number("split.tensors.count", count)
    };
    let mut parts = vec![split(whole, 0), split(File::default(), 1), split(File::default(), 2)];
    for (i, tensor) in tensors.into_iter().enumerate() {
        parts[1 + i % 2].tensors.push(tensor);
    }
    parts
}

fn name(number: usize) -> String {
    format!("m-q4_0-{number:05}-of-00003.gguf")
}

fn folder(parts: &[File]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (i, part) in parts.iter().enumerate() {
        fs::write(folder.path().join(name(i + 1)), part.bytes()).unwrap();
    }
    folder
}

fn open_parts(parts: &[File]) -> Result<Gguf> {
    Gguf::open(&folder(parts).path().join(name(1)))
}

#[test]
fn the_parts_of_a_split_model_are_one() {
    let (whole, split) = (open(&decoder("llama")).unwrap(), open_parts(&parts()).unwrap());
    assert_eq!(whole.config, split.config);
    assert_eq!(whole.tokenizer, split.tokenizer);
    let (names, expected): (Vec<_>, Vec<_>) = (split.weights.names().collect(), whole.weights.names().collect());
    assert_eq!(names, expected);
    for name in names {
        let (a, b) = (whole.weights.get(name).unwrap(), split.weights.get(name).unwrap());
        assert_eq!((a.shape, a.bytes), (b.shape, b.bytes), "{name}");
    }
    assert_eq!(split.weights.files().count(), 3);
    assert_eq!(split.config.get("kinglet_unknown_keys"), None);
}

#[test]
fn parts_that_are_missing_or_do_not_fit_are_named() {
    let refused = |what: &str, file: usize, status: Status, edit: &dyn Fn(&mut Vec<File>)| {
        let mut parts = parts();
        edit(&mut parts);
        let error = open_parts(&parts).err().unwrap_or_else(|| panic!("{what}"));
        assert_eq!(error.status(), status, "{error}");
        assert!(error.message().contains(what), "{error}");
        assert!(error.message().contains(&name(file)), "{error}");
    };
    let invalid = |what: &str, file: usize, edit: &dyn Fn(&mut Vec<File>)| {
        refused(what, file, Status::InvalidFile, edit);
    };
    let number = |part: usize, key: &'static str, value: u32| {
        move |parts: &mut Vec<File>| parts[part] = std::mem::take(&mut parts[part]).number(key, value)
    };
    refused("part 3 of 3", 3, Status::NotFound, &|parts: &mut Vec<File>| drop(parts.pop()));
    invalid("`split.no` is 2, but the file's name says 1", 2, &number(1, "split.no", 2));
    invalid("`split.count` is 4, but the file's name says 3", 3, &number(2, "split.count", 4));
    invalid("`split.count` is 2: the file must be called NAME-00001-of-00002.gguf", 1, &number(0, "split.count", 2));
    invalid("`split.count` is 1001; the maximum is 1000", 1, &number(0, "split.count", 1001));
    invalid("`split.no` is missing", 2, &|parts: &mut Vec<File>| {
        parts[1] = std::mem::take(&mut parts[1]).without("split.no");
    });
    invalid("`split.tensors.count` is 9, but the 3 parts have 6 tensors", 1, &number(0, "split.tensors.count", 9));
    invalid("the 3 parts have 5 tensors", 1, &|parts: &mut Vec<File>| drop(parts[2].tensors.pop()));
    for file in [2, 3] {
        // The error names both files.
        invalid("tensor `token_embd.weight` is in ", file, &|parts: &mut Vec<File>| {
            let double = parts[1].tensors[0].clone();
            parts[2].tensors.push(double);
        });
    }
    invalid("part 2 of 3 of ", 2, &|parts: &mut Vec<File>| parts[1].tensors[0].1 = vec![u64::MAX]);
    // By another name, and a part that is not the first one.
    assert_says(open(&parts()[0]), "`split.count` is 3: the file must be called NAME-00001-of-00003.gguf");
    let folder = folder(&parts());
    let error = Gguf::open(&folder.path().join(name(2))).err().unwrap();
    assert!(error.message().contains("this is part 2 of 3") && error.message().contains(&name(1)), "{error}");
    // A file that says that it is whole.
    open(&decoder("llama").number("split.count", 1)).unwrap();
}

#[test]
fn the_first_of_parts_is_found_by_their_names() {
    let first = |names: &[&str]| {
        let paths: Vec<PathBuf> = names.iter().map(|name| PathBuf::from("folder").join(name)).collect();
        crate::formats::gguf::split::first(&paths).map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
    };
    assert_eq!(first(&["a-00002-of-00002.gguf", "a-00001-of-00002.gguf"]).unwrap(), "a-00001-of-00002.gguf");
    assert_eq!(first(&["a-of-b-00002-of-00003.gguf"]).unwrap(), "a-of-b-00001-of-00003.gguf");
    for others in [&[][..], &["a.gguf"], &["a-00001-of-00002.gguf", "b-00002-of-00002.gguf"], &["a-x-of-2.gguf"]] {
        assert_eq!(first(others), None, "{others:?}");
    }
    assert_eq!(first(&["a-00001-of-00002.gguf", "a-00002-of-00003.gguf"]), None);
    assert_eq!(first(&["a-00001-of-00002.gguf", "a-00002-of-00002.kinglet"]), None);
    assert_eq!(first(&["a-+1-of-00002.gguf"]), None);
}
