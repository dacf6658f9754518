//! KVM_SET_XSAVE and KVM_GET_XSAVE of this machine beside their computed reading.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(unsafe_code, reason = "UNSAFETY: KVM reads as many bytes as a vCPU's buffer is long")]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsRawFd;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_device_attr, kvm_xsave};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use selfsame_kvm::kvm_ioctls::{Kvm, VcpuFd, VmFd};
use selfsame_x86::cpuid;
use selfsame_xstate::{
    Class, Component, ComponentSet, Format, Geometry, Header, HeaderFault, ImageFault, KvmLoaded, KvmVcpu, Layout,
    MxcsrMask, Reader, kvm_host_mask, kvm_set_xsave,
};

#[path = "../../xstate/tests/images/mod.rs"]
mod images;

use images::{Style, Words, random_image};

/// Where a KVM that runs its guests by page tables alone (PVM) differs from others; every such difference stands here.
struct Deviations {
    /// It gives guests the host's leaf 0xD, so that a component cannot be hidden from one, and KVM_GET_XSAVE shows it.
    ignores_a_guests_leaf_0xd: bool,
}

impl Deviations {
    fn of_this_kvm() -> Self {
        let is_pvm = std::path::Path::new("/sys/module/kvm_pvm").exists();
        if is_pvm {
            say("this KVM is PVM: its deviations are expected");
        }
        Self { ignores_a_guests_leaf_0xd: is_pvm }
    }
}

/// Says a line where the harness cannot keep it.
fn say(what: &str) {
    let _ = std::io::stderr().write_all(format!("{what}\n").as_bytes());
}

/// A vCPU with everything that KVM supports, and what is known of it.
struct Machine {
    _vm: VmFd,
    vcpu: VcpuFd,
    geometry: Geometry,
    known: KvmVcpu,
}

impl Machine {
    fn new() -> Option<Self> {
        let kvm = match Kvm::new() {
            Ok(kvm) => kvm,
            Err(error) => {
                say(&format!("SKIPPED: /dev/kvm cannot be opened here: {error}"));
                return None;
            }
        };
        let vm = kvm.create_vm().unwrap();
        let vcpu = vm.create_vcpu(0).unwrap();
        vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap()).unwrap();
        let Some(supported) = supported(&kvm) else {
            say("SKIPPED: this KVM does not say what it supports, or has no XSAVE");
            return None;
        };
        let geometry = Geometry::read(|subleaf| {
            let regs = cpuid(0xD, subleaf);
            [regs.eax, regs.ebx, regs.ecx, regs.edx]
        });
        let is_dynamic = |component: &Component| component.class() == Some(Class::UserDynamic);
        let buffer = supported - supported.iter().filter(is_dynamic).collect::<ComponentSet>();
        let mask = u32::from_le_bytes(get(&vcpu)[28..32].try_into().unwrap());
        let mxcsr_mask = MxcsrMask::from_field(mask);
        let known = KvmVcpu { supported, buffer, xfd: ComponentSet::EMPTY, mxcsr_mask };
        Some(Self { _vm: vm, vcpu, geometry, known })
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.geometry, self.known.buffer).with_mxcsr_mask(self.known.mxcsr_mask)
    }

    /// The canonical bytes of an image in the host's places.
    fn canonical(&self, bytes: &[u8]) -> Vec<u8> {
        let layout = Layout::new(Format::Standard, self.known.buffer, &self.geometry).unwrap();
        let mut out = vec![0; layout.size_bytes() as usize];
        self.reader().read(bytes).unwrap().write(&layout, &mut out).unwrap();
        out
    }
}

/// What KVM supports in XCR0 (KVM_X86_XCOMP_GUEST_SUPP, since Linux 5.17), without regard to permissions.
fn supported(kvm: &Kvm) -> Option<ComponentSet> {
    const GET_DEVICE_ATTR: libc::c_ulong = 0x4018_AEE2;
    let mut mask = 0u64;
    let attribute = kvm_device_attr { addr: (&raw mut mask).expose_provenance() as u64, ..kvm_device_attr::default() };
    // SAFETY: the kernel writes the eight bytes at `addr`, which live.
    let result = unsafe { libc::ioctl(kvm.as_raw_fd(), GET_DEVICE_ATTR, &raw const attribute) };
    (result == 0 && mask != 0).then_some(ComponentSet::from_bits(mask))
}

fn get(vcpu: &VcpuFd) -> [u8; 4096] {
    let words = vcpu.get_xsave().unwrap().region;
    let mut bytes = [0; 4096];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

/// Whether KVM takes an image; otherwise the errno.
fn set(vcpu: &VcpuFd, bytes: &[u8; 4096]) -> Result<(), i32> {
    let mut xsave = kvm_xsave::default();
    for (word, bytes) in xsave.region.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    // SAFETY: without dynamic components a vCPU's buffer is no longer than the region.
    unsafe { vcpu.set_xsave(&xsave) }.map_err(|error| error.errno())
}

/// A random standard image in the host's places.
fn image(machine: &Machine, seed: u64) -> [u8; 4096] {
    let (set, mut words) = (machine.known.buffer, Words::new(seed));
    let image = random_image(&machine.geometry, Format::Standard, set, Style::Dirty, &mut words).unwrap();
    let mut bytes = [0xEE; 4096];
    bytes[..image.len()].copy_from_slice(&image);
    bytes
}

/// Headers within a bit or two of what KVM takes.
fn headers(supported: u64) -> impl Strategy<Value = Header> {
    let bit = || (0u32..64).prop_map(|bit| 1u64 << bit);
    let xstate_bv = prop_oneof![
        8 => any::<u64>().prop_map(move |mask| mask & supported),
        2 => (any::<u64>(), bit()).prop_map(move |(mask, bit)| mask & supported ^ bit),
    ];
    let xcomp_bv = prop_oneof![12 => Just(0), 1 => bit(), 1 => Just(1 << 63 | supported)];
    let word = prop_oneof![40 => Just(0), 1 => bit()];
    (xstate_bv, xcomp_bv, prop::array::uniform6(word)).prop_map(|(xstate_bv, xcomp_bv, reserved)| Header {
        xstate_bv,
        xcomp_bv,
        reserved,
    })
}

#[test]
fn kvm_takes_and_refuses_ten_thousand_images_as_computed_and_holds_what_is_computed() {
    let Some(machine) = Machine::new() else { return };
    let seen = RefCell::new(BTreeMap::<String, u32>::new());
    let mxcsrs = prop_oneof![
        3 => Just(None),
        1 => (0u32..32).prop_map(|bit| Some(1 << bit)),
        1 => any::<u16>().prop_map(|mxcsr| Some(u32::from(mxcsr))),
    ];
    let cases = (any::<u64>(), headers(machine.known.buffer.bits()), mxcsrs);
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&cases, |(seed, header, mxcsr)| {
        let mut bytes = image(&machine, seed);
        if let Some(mxcsr) = mxcsr {
            bytes[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        }
        bytes[512..576].copy_from_slice(&header.to_bytes());
        let mxcsr = u32::from_le_bytes(bytes[24..28].try_into().unwrap());
        let before = get(&machine.vcpu);
        let real = set(&machine.vcpu, &bytes);
        let computed = kvm_set_xsave(&header, mxcsr, &machine.known);
        let strict = machine.reader().faults(&bytes).next();
        let outcome = match (&computed, strict) {
            (Err(refusal), strict) => {
                prop_assert_eq!(real, Err(libc::EINVAL), "{}", refusal);
                // What the strict reading takes all the same is what KVM cannot: compacted images.
                let is_known = strict.is_some() || header.format() == Format::Compacted;
                prop_assert!(is_known, "kvm alone refuses: {refusal}");
                if strict.is_some() { "both refuse".to_owned() } else { format!("kvm alone refuses: {refusal:?}") }
            }
            (Ok(loaded), strict) => {
                prop_assert_eq!(real, Ok(()));
                // Bytes that the header had not named may hold what registers refuse: KVM finds out when it enters the guest.
                if !matches!(strict, Some(ImageFault::Unlawful { .. })) {
                    let expected = expected(&machine, &bytes, &before, loaded);
                    prop_assert_eq!(machine.canonical(&get(&machine.vcpu)), expected);
                }
                match strict {
                    None => "both take".to_owned(),
                    // It is beside other components than x87, SSE and AVX, where KVM does not look at it.
                    Some(ImageFault::Mxcsr { .. }) => "strict alone refuses: MXCSR".to_owned(),
                    Some(ImageFault::Unlawful { .. }) => "strict alone refuses: contents".to_owned(),
                    Some(fault) => return Err(TestCaseError::fail(format!("strict alone refuses: {fault}"))),
                }
            }
        };
        let name = outcome.chars().take_while(|c| *c != '{').collect();
        *seen.borrow_mut().entry(name).or_default() += 1;
        Ok(())
    });
    for (outcome, count) in seen.borrow().iter() {
        eprintln!("{count:6} {outcome}");
    }
    result.unwrap();
    let count = |name: &str| seen.borrow().get(name).copied().unwrap_or(0);
    assert!(count("both take") > 1_000 && count("both refuse") > 1_000);
}

/// The canonical image of what a vCPU holds after an image was loaded as computed.
fn expected(machine: &Machine, bytes: &[u8; 4096], before: &[u8; 4096], loaded: &KvmLoaded) -> Vec<u8> {
    let mut after = *bytes;
    after[24..28].copy_from_slice(&loaded.mxcsr.to_le_bytes());
    let mut components = loaded.components;
    // PKRU stays where the image has none.
    if !components.contains(Component::PKRU) && before[513] & 2 != 0 {
        let range = Layout::new(Format::Standard, machine.known.buffer, &machine.geometry).unwrap();
        let range = range.range_bytes(Component::PKRU).unwrap();
        let range = range.start as usize..range.end as usize;
        after[range.clone()].copy_from_slice(&before[range]);
        components = components.with(Component::PKRU);
    }
    let header = Header { xstate_bv: components.bits(), ..Header::default() };
    after[512..576].copy_from_slice(&header.to_bytes());
    machine.canonical(&after)
}

#[test]
fn what_kvm_gives_is_read_strictly_and_names_the_host() {
    let Some(machine) = Machine::new() else { return };
    set(&machine.vcpu, &image(&machine, 1)).unwrap();
    let bytes = get(&machine.vcpu);
    let image = machine.reader().read(&bytes).unwrap();
    let user = ComponentSet::from_bits(machine.geometry.user().bits());
    let mask = kvm_host_mask(&image);
    assert!(machine.known.supported.is_subset_of(mask) && mask.is_subset_of(user), "{mask}");
    assert_eq!(image.format(), Format::Standard);
}

#[test]
fn a_guest_without_a_cpuid_shows_x87_and_sse_alone() {
    let Some(machine) = Machine::new() else { return };
    if !machine.known.buffer.contains(Component::AVX) {
        return say("SKIPPED: this host has no AVX to hide");
    }
    let kvm = Kvm::new().unwrap();
    let vm = kvm.create_vm().unwrap();
    let vcpu = vm.create_vcpu(0).unwrap();
    let mut bytes = image(&machine, 2);
    bytes[512..576].copy_from_slice(&Header { xstate_bv: 7, ..Header::default() }.to_bytes());
    bytes[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    // It takes what the host has, shows what the guest's CPUID has, and has kept it all the same.
    set(&vcpu, &bytes).unwrap();
    assert_eq!(get(&vcpu)[512] & !3, 0);
    let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap();
    vcpu.set_cpuid2(&supported).unwrap();
    assert_eq!(get(&vcpu)[512] & 4, 4);
    // The same with a leaf 0xD that hides it.
    let mut hidden: Vec<_> = supported.as_slice().to_vec();
    hidden.iter_mut().filter(|entry| entry.function == 0xD && entry.index == 0).for_each(|entry| entry.eax = 3);
    vcpu.set_cpuid2(&CpuId::from_entries(&hidden).unwrap()).unwrap();
    let shows_avx = get(&vcpu)[512] & 4 != 0;
    assert_eq!(shows_avx, Deviations::of_this_kvm().ignores_a_guests_leaf_0xd);
}

#[test]
fn compacted_images_reach_kvm_rewritten() {
    let Some(machine) = Machine::new() else { return };
    for seed in 0..200 {
        let (set_of, mut words) = (machine.known.buffer, Words::new(seed));
        let compacted = random_image(&machine.geometry, Format::Compacted, set_of, Style::Dirty, &mut words).unwrap();
        let image = machine.reader().read(&compacted).unwrap();
        let layout = Layout::new(Format::Standard, set_of, &machine.geometry).unwrap();
        let mut standard = [0; 4096];
        image.write(&layout, &mut standard).unwrap();
        // KVM would keep an absent PKRU.
        let header = Header::from_bytes(standard[512..].first_chunk().unwrap());
        assert_eq!(header.check(set_of, ComponentSet::EMPTY), Ok::<(), HeaderFault>(()));
        set(&machine.vcpu, &standard).unwrap();
        if image.in_use().contains(Component::PKRU) || !set_of.contains(Component::PKRU) {
            assert_eq!(machine.canonical(&get(&machine.vcpu)), machine.canonical(&standard));
        }
    }
}
