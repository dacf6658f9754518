//! CPUs that vCPUs are switched on, and what is their own.

use selfsame_cpuid::FaultingControl;
use selfsame_switch::{
    CpuId, CpuTables, Cr3, Cr4, Frame, GdtPage, Own, PerDomainArea, Platform, Register, RegisterSet, Registers,
    Virtualisation, Visibility,
};
use selfsame_xstate::{Configurations, Geometry};

/// Sapphire Rapids with shadow stacks, and PASID and LBR in the host's XSS.
pub(crate) fn sapphire_rapids() -> Platform {
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [0x6_02E7, 0x240, 0x2B00, 0],
        1 => [0x1F, 0x240, 0x9C00, 0],
        2 => [256, 0x240, 0, 0],
        5 => [64, 0x440, 0, 0],
        6 => [512, 0x480, 0, 0],
        7 => [1024, 0x680, 0, 0],
        9 => [8, 0xA80, 0, 0],
        10 => [8, 0, 1, 0],
        11 => [16, 0, 1, 0],
        12 => [24, 0, 1, 0],
        15 => [808, 0, 1, 0],
        17 => [64, 0xAC0, 2, 0],
        18 => [8192, 0xB00, 6, 0],
        _ => [0; 4],
    });
    let visibility = Visibility::Faulting(FaultingControl::INTEL);
    Platform { has_xfd: true, ..platform(&geometry, Virtualisation::Vmx, visibility) }
}

/// Zen 3 with shadow stacks.
pub(crate) fn milan() -> Platform {
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [0x207, 0x240, 0x988, 0],
        1 => [0xF, 0x240, 0x1800, 0],
        2 => [256, 0x240, 0, 0],
        9 => [8, 0x980, 0, 0],
        11 => [16, 0, 1, 0],
        12 => [24, 0, 1, 0],
        _ => [0; 4],
    });
    let visibility = Visibility::Faulting(FaultingControl::AMD);
    Platform { has_dr_masks: true, ..platform(&geometry, Virtualisation::Svm, visibility) }
}

/// A CPU with XSAVE and AVX only.
pub(crate) fn sandy_bridge() -> Platform {
    let geometry = Geometry::read(|subleaf| match subleaf {
        0 => [0x7, 0x240, 0x340, 0],
        1 => [1, 0, 0, 0],
        2 => [256, 0x240, 0, 0],
        _ => [0; 4],
    });
    platform(&geometry, Virtualisation::Vmx, Visibility::Emulated)
}

/// A CPU without XSAVE, of the kind that leaks FIP, FDP and FOP.
pub(crate) fn barcelona() -> Platform {
    let geometry = Geometry::read(|_| [0; 4]);
    let svm = platform(&geometry, Virtualisation::Svm, Visibility::Emulated);
    Platform { loads_fp_pointers: false, clears_null_base: false, ..svm }
}

fn platform(geometry: &Geometry, virtualisation: Virtualisation, visibility: Visibility) -> Platform {
    let configurations = Configurations::new(geometry).unwrap();
    Platform {
        virtualisation,
        method: configurations.method(),
        xcr0: configurations.host_xcr0(),
        xss: configurations.host_xss(),
        supervisor: configurations.supervisor(),
        has_xfd: false,
        loads_fp_pointers: true,
        clears_null_base: true,
        has_dr_masks: false,
        has_ibpb: true,
        registers: Register::ALL.into_iter().collect::<RegisterSet>(),
        visibility,
        per_domain: PerDomainArea::new(0xFFFF_8300_0000_0000).unwrap(),
    }
}

pub(crate) const CR4: u64 = Cr4::OSXSAVE | Cr4::FSGSBASE | 0x6A0;

/// What is one CPU's own.
pub(crate) fn own(number: u16) -> Own {
    let page = |which: u64| {
        let page = u64::from(number) * 2 + which;
        GdtPage::new(0xFFFF_82D0_0010_0000 + page * 0x10000, Frame::new(0x1000 + page).unwrap()).unwrap()
    };
    let mut registers = Registers::RESET;
    for (at, register) in Register::ALL.into_iter().enumerate() {
        registers.set(register, 0xFFFF_8200_0000_0000 + u64::from(number) * 0x1000 + u64::try_from(at).unwrap());
    }
    registers.set(Register::FsBase, 0);
    registers.set(Register::GsBase, 0);
    Own {
        tables: CpuTables::new(CpuId::new(number), page(0), page(1)),
        cr3: Cr3::new(0x1000_0000).unwrap(),
        cr4: Cr4::of_hypervisor(CR4),
        pl0_ssp: None,
        registers,
        faulting_register: 0,
    }
}
