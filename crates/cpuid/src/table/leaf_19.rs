//! Leaf 0x19: Key Locker.

use super::leaf_07_0_ecx::KEY_LOCKER;
use crate::feature::{Feature, Relation::*, row};
use crate::place::{Register, Word};

const EAX: Word = Word::leaf(0x19, Register::Eax);
const EBX: Word = Word::leaf(0x19, Register::Ebx);
const ECX: Word = Word::leaf(0x19, Register::Ecx);

/// The rows.
pub(crate) static ROWS: [Feature; 8] = [
    row(EAX.bit(0), "kl-cpl0-only").needs(&[KEY_LOCKER]).because(
        "restriction of handles; the wrapping key is lost on a move, so no hypervisor gives it",
        "SDM vol. 2A, CPUID.19H:EAX",
    ),
    row(EAX.bit(1), "kl-no-encrypt")
        .needs(&[KEY_LOCKER])
        .because("handle restriction: decrypt only; no hypervisor gives Key Locker", "SDM vol. 2A, CPUID.19H:EAX"),
    row(EAX.bit(2), "kl-no-decrypt")
        .needs(&[KEY_LOCKER])
        .because("handle restriction: encrypt only; no hypervisor gives Key Locker", "SDM vol. 2A, CPUID.19H:EAX"),
    row(EBX.bit(0), "aes-keylocker").relation(Dynamic).because(
        "1 only after the OS set CR4.KL and firmware agreed: state, not a capability",
        "SDM vol. 2A, CPUID.19H:EBX",
    ),
    row(EBX.bit(2), "aes-keylocker-wide")
        .needs(&[KEY_LOCKER])
        .because("eight-block forms; the wrapping key cannot be read out to migrate it", "SDM vol. 2A, CPUID.19H:EBX"),
    row(EBX.bit(4), "kl-msr-iwkey")
        .needs(&[KEY_LOCKER])
        .because("backup MSRs of the wrapping key; they hold the host's key", "SDM vol. 2A, CPUID.19H:EBX"),
    row(ECX.bit(0), "loadiwkey-no-backup")
        .needs(&[KEY_LOCKER])
        .because("a parameter of LOADIWKEY, which would change the host's key", "SDM vol. 2A, CPUID.19H:ECX"),
    row(ECX.bit(1), "iwkey-rand")
        .needs(&[KEY_LOCKER])
        .because("random wrapping keys: nobody could reload one elsewhere", "SDM vol. 2A, CPUID.19H:ECX"),
];
