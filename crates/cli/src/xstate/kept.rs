//! What of a host's leaf 0xD counts: components that the CPU has a feature for.
//!
//! A CPU may enumerate state that nothing uses: Zen 2 has PKRU's without protection keys, and hypervisors hide a feature and
//! forget its state. Linux drops such components before anything else (`fpu__init_system_xstate` in
//! `arch/x86/kernel/fpu/xstate.c`), and guests never get them.

use selfsame_cpuid::{FEATURES, Host, Kind, Leaves, Offer, Trims};
use selfsame_xstate::{Component, ComponentSet, Geometry};

use crate::host::{Machine, Origin};
use crate::problem::Problem;

/// What of a machine's components is kept there.
pub(super) fn geometry(machine: &Machine) -> Result<Geometry, Problem> {
    let kind = match machine.origin {
        Origin::Policy(kind, _) => return Ok(of_policy(&machine.raw(), kind)),
        // What a hypervisor offers is said of its own guests alone.
        Origin::Offered(source) => Kind::ALL.into_iter().find(|&kind| source.serves(kind)).unwrap_or_default(),
        Origin::Hardware(_) => Kind::Kvm,
    };
    Ok(of_host(&machine.raw(), &machine.host(kind, &Trims::NONE)?))
}

/// What of its components a policy's guests can use.
pub(super) fn of_policy(leaves: &Leaves, kind: Kind) -> Geometry {
    of_host(leaves, &Host::from_vmm(leaves, kind, &Trims::NONE))
}

fn of_host(leaves: &Leaves, host: &Host) -> Geometry {
    let geometry = leaves.geometry().usable(leaves.vendor().offsets());
    let max = &host.max().leaves;
    // Without XSAVE there is neither XCR0 nor IA32_XSS.
    if max.xcr0().is_empty() {
        return geometry.restricted(ComponentSet::EMPTY);
    }
    let given = max.xcr0() | max.xss() | ComponentSet::LEGACY;
    let is_kept = |component: &Component| given.contains(*component) || is_hosts_own(*component, leaves, host.kind());
    geometry.restricted(geometry.components().iter().filter(is_kept).collect())
}

/// Whether a component is there for the host alone: no feature is known for it, or it has one that guests do not get.
fn is_hosts_own(component: Component, leaves: &Leaves, kind: Kind) -> bool {
    let mut features = FEATURES.iter().filter(|feature| feature.components.contains(component)).peekable();
    let is_withheld = |offer| matches!(offer, Offer::Never | Offer::Request);
    features.peek().is_none()
        || features.any(|feature| leaves.is_set(feature.place) && is_withheld(feature.offer_to(kind)))
}
