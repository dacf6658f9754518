//! `selfsame xstate` with what this machine's KVM and its own capture say.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(unsafe_code, reason = "UNSAFETY: KVM reads as many bytes as a vCPU's buffer is long")]

mod command;

use std::fs;
use std::io::Write;

use command::{run, scratch};
use selfsame_kvm::kvm_ioctls::Kvm;

#[test]
fn what_this_machines_kvm_gives_is_shown_and_goes_through_both_formats() {
    let kvm = match Kvm::new() {
        Ok(kvm) => kvm,
        Err(error) => {
            let skipped = format!("SKIPPED: /dev/kvm cannot be opened here: {error}\n");
            let _ = std::io::stderr().write_all(skipped.as_bytes());
            return;
        }
    };
    let vcpu = kvm.create_vm().unwrap().create_vcpu(0).unwrap();
    vcpu.set_cpuid2(&kvm.get_supported_cpuid(256).unwrap()).unwrap();
    // XMM0 and the control word of x87: the guest uses both.
    let mut xsave = vcpu.get_xsave().unwrap();
    (xsave.region[0], xsave.region[40], xsave.region[128]) = (0x027F, 0x1234_5678, 3);
    // SAFETY: a vCPU without AMX has a buffer no longer than the region.
    unsafe { vcpu.set_xsave(&xsave) }.unwrap();
    let blob: Vec<u8> = vcpu.get_xsave().unwrap().region.iter().flat_map(|word| word.to_le_bytes()).collect();

    let directory = scratch("xstate-live");
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (image, host) = (path("blob"), path("host"));
    fs::write(&image, &blob).unwrap();
    assert_eq!(run(&["capture", "--name", "here", "-o", &host]).status, 0);
    for origin in [&[][..], &["--from-host", &*host]] {
        let document = run(&[&["xstate", "show", "--json", &*image], origin].concat()).json();
        let shown = &document["images"][0];
        assert_eq!((&shown["format"], &shown["bytes"]), (&"standard".into(), &4096.into()));
        let host_mask = u64::from_le_bytes(blob[464..472].try_into().unwrap());
        assert_eq!(shown["host_mask"], format!("{host_mask:#x}"));
        let in_use = shown["components"].as_array().unwrap().iter().filter(|one| one["state"] == "in-use");
        assert_eq!(in_use.map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), ["x87", "sse"]);
        let readings = shown["readings"].as_array().unwrap();
        assert!(readings.iter().all(|reading| reading["accepted"] == true), "{readings:?}");
    }
    let (compacted, standard) = (path("compacted"), path("standard"));
    assert_eq!(run(&["xstate", "convert", &image, "--to", "compacted", "-o", &compacted]).status, 0);
    let back = run(&["xstate", "convert", &compacted, "--to", "standard", "--host", &host, "-o", &standard]);
    assert_eq!(back.status, 0, "{}", back.stderr);
    let mut bytes = fs::read(&standard).unwrap();
    bytes.resize(4096, 0);
    for (word, bytes) in xsave.region.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let before = vcpu.get_xsave().unwrap().region;
    // SAFETY: as above.
    unsafe { vcpu.set_xsave(&xsave) }.unwrap();
    // KVM gives MXCSR_MASK back as it got it, and it is zero in a canonical image: guests never see it.
    let mut after = vcpu.get_xsave().unwrap().region;
    assert_eq!(after[7], 0);
    after[7] = before[7];
    assert!(after == before, "the guest's state is another");
}
