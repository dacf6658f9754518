//! State that the kernel gives to guests on request only.
#![expect(unsafe_code, reason = "UNSAFETY: arch_prctl has no safe wrapper")]

use std::io;

use selfsame_xstate::{Component, Holder};

/// Asks the kernel to let the guests of this process use a component.
///
/// Until this succeeded, KVM leaves the component and its features out of what it offers. It counts for the whole process,
/// cannot be taken back, and is refused once a vCPU exists. Only user-dynamic components need it
/// ([`Class::UserDynamic`](selfsame_xstate::Class::UserDynamic): AMX tile data).
///
/// # Errors
///
/// What the kernel answers: `EOPNOTSUPP` where CPU or kernel have no such component or it needs no permission, `EINVAL`
/// before Linux 5.17, `EBUSY` once a vCPU exists.
///
/// ```
/// use selfsame_xstate::Component;
///
/// match selfsame_kvm::request_permission(Component::XTILEDATA) {
///     Ok(()) => println!("guests may use AMX"),
///     Err(error) => println!("guests get no AMX: {error}"),
/// }
/// ```
pub fn request_permission(component: Component) -> io::Result<()> {
    let (code, index) = (libc::c_long::from(Holder::Guests.request_code()), libc::c_long::from(component.index()));
    // SAFETY: this operation takes two integers and touches no memory of the process.
    let result = unsafe { libc::syscall(libc::SYS_arch_prctl, code, index) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_without_permissions_is_refused() {
        let error = request_permission(Component::X87).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)), "{error}");
    }
}
