use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use super::*;

fn places(dir: &Path) -> Places {
    fs::write(dir.join("variables"), "").unwrap();
    Places {
        storage_dir: Some(dir.join("own/pipe")),
        shared_storage_dir: Some(dir.join("shared")),
        variables_path: Some(dir.join("variables")),
        output_variables: super::OUTPUT_VARIABLES.map(str::to_owned).into(),
        clone_dir: Some(dir.to_owned()),
        junit: true,
        insights: None,
    }
}

/// All files below a directory, by path.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn everything_is_written_and_nothing_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    write(&sample::deploy(), &places(dir.path()));
    assert_eq!(
        files(dir.path()),
        [
            "own/pipe/openfaas-pipe.json",
            "shared/.openfaas-pipe.lock",
            "shared/_shared_variables.json",
            "shared/openfaas-pipe.json",
            "test-reports/openfaas-pipe.xml",
            "variables",
        ]
    );
    let read = |path| serde_json::from_slice::<serde_json::Value>(&fs::read(dir.path().join(path)).unwrap()).unwrap();
    let result = read("own/pipe/openfaas-pipe.json");
    assert_eq!(result["exitCode"], 3);
    assert_eq!(read("shared/openfaas-pipe.json"), result);
    assert_eq!(read("shared/_shared_variables.json")["openfaas-pipe"], result);
}

#[test]
fn nothing_is_written_where_no_place_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places { clone_dir: Some(dir.path().to_owned()), ..Places::default() };
    write(&sample::deploy(), &places);
    assert!(files(dir.path()).is_empty());
}

#[test]
fn place_that_cannot_be_written_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    fs::write(dir.path().join("own"), "a file where a directory should be").unwrap();
    fs::create_dir_all(dir.path().join("test-reports/openfaas-pipe.xml")).unwrap();
    write(&sample::deploy(), &places);
    assert_eq!(
        files(dir.path()),
        [
            "own",
            "shared/.openfaas-pipe.lock",
            "shared/_shared_variables.json",
            "shared/openfaas-pipe.json",
            "variables",
        ]
    );
}

#[test]
fn failure_says_what_and_where_and_that_the_run_is_not_affected() {
    let error = atomic::write(Path::new("/proc/openfaas-pipe.json"), b"", atomic::Attributes::inherited_from(None))
        .map_err(not_written(Path::new("/proc/openfaas-pipe.json")))
        .unwrap_err();
    insta::assert_snapshot!(error.to_string(), @r"
    the result was not written to `/proc/openfaas-pipe.json`: No such file or directory (os error 2)
    hint: the deployment is not affected; if later steps need the result, check that the directory is writable and not full
    ");
}

#[test]
fn planted_link_is_replaced_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    fs::write(&target, "precious").unwrap();
    let path = dir.path().join("openfaas-pipe.json");
    symlink(&target, &path).unwrap();
    atomic::write(&path, b"{}", atomic::Attributes::inherited_from(None)).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn files_belong_to_whom_the_clone_belongs() {
    let dir = tempfile::tempdir().unwrap();
    // Only root may give a directory away; anyone else sees that his own files stay his.
    let _ = std::os::unix::fs::chown(dir.path(), Some(10_001), Some(10_001));
    let owner = fs::metadata(dir.path()).unwrap();
    write(&sample::deploy(), &places(dir.path()));
    for (path, mode) in [
        ("own/pipe/openfaas-pipe.json", 0o644),
        ("shared/.openfaas-pipe.lock", 0o644),
        ("shared/_shared_variables.json", 0o644),
        ("test-reports", 0o755),
        ("test-reports/openfaas-pipe.xml", 0o644),
    ] {
        let metadata = fs::metadata(dir.path().join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (owner.uid(), owner.gid()), "{path}");
        assert_eq!(metadata.mode() & 0o777, mode, "{path}");
    }
}
