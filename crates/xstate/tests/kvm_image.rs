//! KVM's reading, by the answers that its ioctl has given on a host with XCR0 0xE7 (AMD Zen 4).

use selfsame_xstate::{
    Component, ComponentSet, Format, Header, KvmLoaded, KvmQuirk, KvmRefusal, KvmVcpu, MXCSR_INITIAL, MxcsrMask,
    Reader, kvm_host_mask, kvm_set_xsave,
};

mod machines;

fn zen4() -> KvmVcpu {
    let host = ComponentSet::from_bits(0xE7);
    KvmVcpu { supported: host, buffer: host, xfd: ComponentSet::EMPTY, mxcsr_mask: MxcsrMask::AMD }
}

fn set_xsave(xstate_bv: u64, mxcsr: u32) -> Result<KvmLoaded, KvmRefusal> {
    kvm_set_xsave(&Header { xstate_bv, ..Header::default() }, mxcsr, &zen4())
}

#[test]
fn single_components_are_taken_where_the_host_has_them() {
    let taken: ComponentSet = (0..=62)
        .filter(|bit| set_xsave(1 << bit, MXCSR_INITIAL).is_ok())
        .map(|bit| Component::new(bit).unwrap())
        .collect();
    assert_eq!(taken.bits(), 0xE7);
    assert!(set_xsave(1 << 63, MXCSR_INITIAL).is_err());
}

#[test]
fn components_need_no_company() {
    assert!(set_xsave(0x80, MXCSR_INITIAL).is_ok(), "Hi16_ZMM without AVX");
}

#[test]
fn compaction_and_reserved_bytes_are_refused() {
    for xcomp_bv in [1, 1 << 63, 1 << 63 | 7] {
        let header = Header { xcomp_bv, ..Header::default() };
        let refused = Err(KvmRefusal::CompactionBits { xcomp_bv });
        assert_eq!(kvm_set_xsave(&header, MXCSR_INITIAL, &zen4()), refused);
    }
    for word in 0..6 {
        let mut header = Header::default();
        header.reserved[word] = 1;
        assert_eq!(kvm_set_xsave(&header, MXCSR_INITIAL, &zen4()), Err(KvmRefusal::Reserved));
    }
}

#[test]
fn mxcsr_is_looked_at_only_beside_x87_sse_or_avx() {
    let garbage = u32::MAX;
    for xstate_bv in [1, 2, 4] {
        assert_eq!(set_xsave(xstate_bv, garbage), Err(KvmRefusal::Mxcsr { mxcsr: garbage }));
        assert!(set_xsave(xstate_bv, 0x2_FFFF).is_ok());
        assert!(set_xsave(xstate_bv, 0x1_0000).is_err());
    }
    for xstate_bv in [0, 0x20] {
        assert_eq!(set_xsave(xstate_bv, garbage).unwrap().mxcsr, MXCSR_INITIAL);
    }
}

#[test]
fn every_quirk_is_named() {
    let vcpu = KvmVcpu {
        supported: ComponentSet::from_bits(0x6_02E7),
        buffer: ComponentSet::from_bits(0x6_02E7),
        xfd: ComponentSet::from_bits(0x4_0000),
        mxcsr_mask: MxcsrMask::COMMON,
    };
    let quirks = |xstate_bv, mxcsr| {
        let header = Header { xstate_bv, ..Header::default() };
        kvm_set_xsave(&header, mxcsr, &vcpu).unwrap().quirks().collect::<Vec<_>>()
    };
    assert_eq!(quirks(0x2_0207, MXCSR_INITIAL), []);
    let components = Component::XTILEDATA.into();
    assert_eq!(quirks(0x6_0207, MXCSR_INITIAL), [KvmQuirk::XfdDropped { components }]);
    assert_eq!(quirks(0x7, MXCSR_INITIAL), [KvmQuirk::PkruKept]);
    assert_eq!(quirks(0x201, 0x3F80), [KvmQuirk::MxcsrIgnored { mxcsr: 0x3F80 }]);
    assert_eq!(quirks(0x204, 0x3F80), [KvmQuirk::MxcsrLostAtEntry { mxcsr: 0x3F80 }]);
    assert_eq!(quirks(0x206, 0x3F80), []);
}

#[test]
fn a_component_beyond_the_vcpus_buffer_is_refused_even_where_the_host_has_it() {
    let host = ComponentSet::from_bits(0x6_02E7);
    let vcpu = KvmVcpu { supported: host, buffer: ComponentSet::from_bits(0x2_02E7), ..zen4() };
    let components = ComponentSet::from(Component::XTILEDATA);
    let header = Header { xstate_bv: components.bits(), ..Header::default() };
    assert_eq!(kvm_set_xsave(&header, MXCSR_INITIAL, &vcpu), Err(KvmRefusal::Unsupported { components }));
    // Dropped first, it is no longer looked at.
    let vcpu = KvmVcpu { xfd: components, ..vcpu };
    assert!(kvm_set_xsave(&header, MXCSR_INITIAL, &vcpu).is_ok());
}

#[test]
fn the_hosts_mask_is_told_and_not_kept() {
    let geometry = machines::genoa();
    let reader = Reader::new(&geometry, geometry.user());
    let mut bytes = [0; 4096];
    bytes[24..28].copy_from_slice(&MXCSR_INITIAL.to_le_bytes());
    bytes[464] = 0xE7;
    let image = reader.read(&bytes).unwrap();
    assert_eq!(kvm_host_mask(&image).bits(), 0xE7);
    let layout = selfsame_xstate::Layout::new(Format::Standard, geometry.user(), &geometry).unwrap();
    let mut out = [0xFF; 2440];
    image.write(&layout, &mut out).unwrap();
    assert_eq!(kvm_host_mask(&reader.read(&out).unwrap()), ComponentSet::EMPTY);
}

/// From its source: no such host was there to ask.
#[test]
fn a_host_without_xsave_copies_the_legacy_region_and_asks_for_little() {
    let vcpu = KvmVcpu { supported: ComponentSet::EMPTY, buffer: ComponentSet::EMPTY, ..zen4() };
    let set = |xstate_bv, mxcsr| {
        let header = Header { xstate_bv, xcomp_bv: 1 << 63, reserved: [1; 6] };
        kvm_set_xsave(&header, mxcsr, &vcpu).map(|loaded| (loaded.components, loaded.mxcsr, loaded.quirks().count()))
    };
    for xstate_bv in [0, 1, 2, 3] {
        assert_eq!(set(xstate_bv, 0x3F80), Ok((ComponentSet::LEGACY, 0x3F80, 0)), "{xstate_bv}");
        assert_eq!(set(xstate_bv, u32::MAX), Err(KvmRefusal::Mxcsr { mxcsr: u32::MAX }), "{xstate_bv}");
    }
    let components = ComponentSet::from_bits(4);
    assert_eq!(set(7, MXCSR_INITIAL), Err(KvmRefusal::Unsupported { components }));
}
