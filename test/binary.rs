//! The built binary is static: it needs no loader and no shared library.

/// Program header types (ELF specification, part 1).
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
/// A shared library that the loader has to load (System V ABI, "Dynamic Section").
const DT_NEEDED: u64 = 1;

fn number(bytes: &[u8], at: u64, size: usize) -> u64 {
    let at = usize::try_from(at).expect("invalid number");
    bytes[at..at + size].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The program headers of a 64-bit little-endian ELF file: type, offset in the file, size there.
fn segments(elf: &[u8]) -> Vec<(u32, u64, u64)> {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01");
    let (table, size, count) = (number(elf, 0x20, 8), number(elf, 0x36, 2), number(elf, 0x38, 2));
    let headers = (0..count).map(|index| table + index * size);
    headers
        .map(|at| {
            let kind = u32::try_from(number(elf, at, 4)).expect("invalid number");
            (kind, number(elf, at + 8, 8), number(elf, at + 0x20, 8))
        })
        .collect()
}

#[test]
#[cfg(target_os = "linux")]
fn binary_is_static() {
    let elf = std::fs::read(env!("CARGO_BIN_EXE_openfaas-pipe")).expect("cannot read file");
    let segments = segments(&elf);
    assert!(segments.iter().all(|(kind, ..)| *kind != PT_INTERP), "the binary needs a loader");
    for (_, offset, size) in segments.iter().filter(|(kind, ..)| *kind == PT_DYNAMIC) {
        let entries = (*offset..offset + size).step_by(16).map(|at| number(&elf, at, 8));
        assert!(entries.take_while(|tag| *tag != 0).all(|tag| tag != DT_NEEDED), "the binary needs a shared library");
    }
}
