//! What MOV to CR0 does, judged for guests whose CPU would let them into modes that no CPU has outside of a guest.

use crate::virtual_cpu::ModeState;

const PE: u64 = 1 << 0;
const WP: u64 = 1 << 16;
const NW: u64 = 1 << 29;
const CD: u64 = 1 << 30;
const PG: u64 = 1 << 31;
const PAE: u64 = 1 << 5;
const PCIDE: u64 = 1 << 17;
const CET: u64 = 1 << 23;
const LME: u64 = 1 << 8;

/// Tells whether CR0 takes a value; otherwise #GP (SDM vol. 3A, 2.5 and 4.1.2; APM vol. 2, 3.1.1). Under SVM a guest could
/// have paging without protection (APM vol. 2, 15.19).
pub(crate) const fn is_legal_cr0(value: u64, mode: &ModeState) -> bool {
    let is_defined = value >> 32 == 0;
    let is_whole = (value & PG == 0 || value & PE != 0) && (value & NW == 0 || value & CD != 0);
    let stays_in_64_bit_mode = !mode.is_64_bit_code || value & PG != 0;
    let can_page = value & PG == 0 || mode.efer & LME == 0 || mode.cr4 & PAE != 0;
    let keeps_what_needs_it = (mode.cr4 & CET == 0 || value & WP != 0) && (mode.cr4 & PCIDE == 0 || value & PG != 0);
    is_defined && is_whole && stays_in_64_bit_mode && can_page && keeps_what_needs_it
}

/// Tells whether CR4 takes a value, of whose bits the guest has all; otherwise #GP.
pub(crate) const fn is_legal_cr4(value: u64, mode: &ModeState) -> bool {
    const LMA: u64 = 1 << 10;
    let keeps_pae = mode.efer & LMA == 0 || value & PAE != 0;
    let has_wp = value & CET == 0 || mode.cr0 & WP != 0;
    let can_tag = value & PCIDE == 0 || mode.efer & LMA != 0;
    keeps_pae && has_wp && can_tag
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_64_BIT_MODE: ModeState =
        ModeState { rip: 0, cr0: PG | WP | PE, cr3: 0, cr4: PAE, efer: LME | 1 << 10, cpl: 0, is_64_bit_code: true };

    #[test]
    fn paging_needs_protection_and_64_bit_code_needs_paging() {
        assert!(is_legal_cr0(PG | WP | PE, &IN_64_BIT_MODE));
        for value in [PG | WP, WP | PE, 0, PG | PE | NW, PG | PE | 1 << 32] {
            assert!(!is_legal_cr0(value, &IN_64_BIT_MODE), "{value:#x}");
        }
        let before = ModeState { is_64_bit_code: false, efer: LME, cr4: 0, ..IN_64_BIT_MODE };
        assert!(!is_legal_cr0(PG | PE, &before), "64-bit mode without PAE");
        assert!(is_legal_cr0(PG | PE, &ModeState { efer: 0, ..before }));
    }

    #[test]
    fn shadow_stacks_need_write_protection_in_either_order() {
        let with_cet = ModeState { cr4: PAE | CET, ..IN_64_BIT_MODE };
        assert!(!is_legal_cr0(PG | PE, &with_cet));
        assert!(!is_legal_cr4(PAE | CET, &ModeState { cr0: PG | PE, ..IN_64_BIT_MODE }));
        assert!(is_legal_cr4(PAE | CET, &IN_64_BIT_MODE));
        assert!(!is_legal_cr4(CET, &IN_64_BIT_MODE), "64-bit mode without PAE");
    }
}
