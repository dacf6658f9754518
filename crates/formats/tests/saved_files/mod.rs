//! Writes the files that hold extended state, by their specifications and not by the readers of this crate.
#![allow(dead_code, reason = "each test file uses some of the writers")]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

/// A length as files have it.
fn len32(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_le_bytes()
}

fn padded(bytes: &[u8], to: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(to), 0);
    bytes
}

/// A note of an ELF file.
pub(crate) fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
    let name = [name, b"\0"].concat();
    [&len32(&name), &len32(desc), &kind.to_le_bytes()[..], &padded(&name, 4), &padded(desc, 4)].concat()
}

/// The notes of one thread: NT_PRSTATUS with its id, NT_FPREGSET, which nobody needs, and NT_X86_XSTATE.
pub(crate) fn thread(id: u32, image: &[u8]) -> Vec<u8> {
    let mut status = [0; 336];
    status[32..36].copy_from_slice(&id.to_le_bytes());
    [note(b"CORE", 1, &status), note(b"CORE", 2, &[0xFF; 512]), note(b"LINUX", 0x202, image)].concat()
}

/// NT_X86_XSAVE_LAYOUT of rows of component, size and offset.
pub(crate) fn layout_note(rows: &[[u32; 3]]) -> Vec<u8> {
    let row = |&[component, size, offset]: &[u32; 3]| [component, size, offset, 0].map(u32::to_le_bytes).concat();
    note(b"LINUX", 0x205, &rows.iter().flat_map(row).collect::<Vec<u8>>())
}

/// A core dump with these notes.
pub(crate) fn core(notes: &[Vec<u8>]) -> Vec<u8> {
    elf(4, 62, &notes.concat())
}

/// An ELF file of a type and machine with one segment of notes.
pub(crate) fn elf(kind: u16, machine: u16, notes: &[u8]) -> Vec<u8> {
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([kind, machine].map(u16::to_le_bytes).concat());
    file.extend(1u32.to_le_bytes());
    // No entry; program headers right here, no sections; flags; sizes of headers.
    file.extend(words(&[0, 64, 0]));
    file.extend(0u32.to_le_bytes());
    file.extend([64u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    // PT_NOTE, readable; offset, two addresses, two sizes, alignment.
    file.extend([4u32, 4].map(u32::to_le_bytes).concat());
    let len = notes.len() as u64;
    file.extend(words(&[120, 0, 0, len, 0, 4]));
    file.extend(notes);
    file
}

/// A record of a Xen HVM context.
pub(crate) fn hvm_record(kind: u16, instance: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &instance.to_le_bytes(), &len32(body), body].concat()
}

/// The record of one vCPU's extended state.
pub(crate) fn hvm_xsave(vcpu: u16, xcr0: u64, accumulated: u64, image: &[u8]) -> Vec<u8> {
    let masks = [u64::MAX, xcr0, accumulated].map(u64::to_le_bytes).concat();
    hvm_record(16, vcpu, &[&masks, image].concat())
}

/// A Xen HVM context with these records between the first and the last.
pub(crate) fn hvm_context(records: &[Vec<u8>]) -> Vec<u8> {
    let mut header = [0x5438_1286u32, 1].map(u32::to_le_bytes).concat();
    header.extend([0; 16]);
    [hvm_record(1, 0, &header), records.concat(), hvm_record(0, 0, &[])].concat()
}

/// A record of libxenctrl's or libxl's stream.
pub(crate) fn record(kind: u32, body: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &len32(body), &padded(body, 8)].concat()
}

/// The record of one PV vCPU's extended state.
pub(crate) fn pv_xsave(vcpu: u32, xcr0: u64, accumulated: u64, image: &[u8]) -> Vec<u8> {
    let body = [&[vcpu, 0].map(u32::to_le_bytes).concat(), &[xcr0, accumulated].map(u64::to_le_bytes).concat(), image];
    record(6, &body.concat())
}

/// libxenctrl's stream of a version and a type of guest (1 PV, 2 HVM) with these records before the last.
pub(crate) fn libxc(version: u32, kind: u32, records: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = [0xFF; 8].to_vec();
    stream.extend(b"XENF");
    stream.extend(version.to_be_bytes());
    stream.extend([0; 8]);
    stream.extend(kind.to_le_bytes());
    stream.extend([12u16, 0].map(u16::to_le_bytes).concat());
    stream.extend([4u32, 21].map(u32::to_le_bytes).concat());
    [stream, records.concat(), record(0, &[])].concat()
}

/// libxl's stream around libxenctrl's.
pub(crate) fn libxl(libxc: &[u8]) -> Vec<u8> {
    let header = [b"LibxlFmt", &2u32.to_be_bytes()[..], &0u32.to_be_bytes()].concat();
    [header, record(1, &[]), libxc.to_vec(), record(2, b"emulator"), record(0, &[])].concat()
}

/// A file of `xl save` around libxl's stream.
pub(crate) fn xl(configuration: &[u8], libxl: &[u8]) -> Vec<u8> {
    let flags = [0x0102_0304u32, 0, 0].map(u32::to_le_bytes).concat();
    [b"Xen saved domain, xl format\n \0 \r", &flags[..], &len32(configuration), configuration, libxl].concat()
}
