//! Whether this CPU faults on an image: asked by loading it, and survived.
//!
//! A fault comes to a program as a signal. The handler knows nothing but addresses: when the signal comes from the one
//! instruction that loads images, it lets the assembly go on behind it with the vector in a register; every other signal goes
//! to whom it belonged before. It keeps no state, so any number of threads may ask at a time, in a handler of their own too.
#![expect(unsafe_code, reason = "UNSAFETY: handles signals, and loads registers from images that may fault")]

extern crate std;

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use selfsame_xstate::{Component, ComponentSet, Format};

use crate::oracle::{AREA_BYTES, Area, Oracle, Saved, ThroughError};

/// The signals that a faulting XRSTOR makes of #GP and #SS, of XFD's #NM, and of #AC.
const SIGNALS: [libc::c_int; 3] = [libc::SIGSEGV, libc::SIGILL, libc::SIGBUS];

/// Who handled the signals before.
static BEFORE: OnceLock<[libc::sigaction; 3]> = OnceLock::new();

unsafe extern "C" {
    /// The XRSTOR of `selfsame_x86_through`.
    static selfsame_x86_through_load: u8;
    /// Where it puts the caller's registers back.
    static selfsame_x86_through_restore: u8;
}

/// Why bytes did not go through the registers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryError {
    /// The CPU faults on them: 13 for #GP, 7 for #NM.
    #[error("xrstor raises exception {vector}")]
    Fault {
        /// The vector of the exception.
        vector: u8,
    },
    /// They are longer than an area.
    #[error("{len_bytes} bytes are more than the {AREA_BYTES} of an area")]
    TooLong {
        /// How many there are.
        len_bytes: usize,
    },
    /// What follows the load is not possible.
    #[error(transparent)]
    Through(#[from] ThroughError),
    /// The kernel refused to let the signals of faults be handled.
    #[error("the signals of faults cannot be handled")]
    Signals(#[source] io::Error),
}

impl Oracle {
    /// Does what [`Oracle::through`] does with bytes as they are, whatever they are: loads what `requested` asks for, saves the
    /// components of `mask` in a format, and tells if the load faults.
    ///
    /// PKRU is never loaded, so that nothing in the bytes puts memory out of reach; the caller's registers are put back
    /// after a fault too. The first call installs a handler for SIGSEGV, SIGILL and SIGBUS that hands all signals but its
    /// own to the one before it. Any number of threads may ask at a time, signal handlers among them.
    ///
    /// ```
    /// # #[cfg(all(target_arch = "x86_64", target_os = "linux"))] {
    /// use selfsame_x86::{Oracle, TryError};
    /// use selfsame_xstate::Format;
    ///
    /// let Some(oracle) = Oracle::of_this_cpu() else { return };
    /// let xcr0 = oracle.xcr0();
    /// let mut bytes = [0; 576];
    /// assert!(oracle.try_through(&bytes, xcr0, Format::Standard, xcr0).is_ok());
    /// // Bit 63 of XSTATE_BV.
    /// bytes[519] = 0x80;
    /// let fault = oracle.try_through(&bytes, xcr0, Format::Standard, xcr0);
    /// assert!(matches!(fault, Err(TryError::Fault { vector: 13 })));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The fault, and what keeps it from being asked for.
    pub fn try_through(
        &self,
        bytes: &[u8],
        requested: ComponentSet,
        format: Format,
        mask: ComponentSet,
    ) -> Result<Saved, TryError> {
        let mut load = Area([0; AREA_BYTES]);
        let place = load.0.get_mut(..bytes.len()).ok_or(TryError::TooLong { len_bytes: bytes.len() })?;
        place.copy_from_slice(bytes);
        handle_signals()?;
        let requested = requested.without(Component::PKRU);
        // SAFETY: 1: the handler recovers from a fault. 2: PKRU is not asked for.
        let (saved, vector) = unsafe { self.run(&load, requested, format, mask) }?;
        match u8::try_from(vector) {
            Ok(0) => Ok(saved),
            vector => Err(TryError::Fault { vector: vector.unwrap_or(u8::MAX) }),
        }
    }
}

/// Installs the handler, once; whoever comes meanwhile waits for it.
fn handle_signals() -> Result<(), TryError> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| install().map_err(|error| error.raw_os_error().unwrap_or(0)));
    installed.map_err(|errno| TryError::Signals(io::Error::from_raw_os_error(errno)))
}

fn install() -> io::Result<()> {
    // The handler looks at what was there before, so that is known first.
    let mut before = [no_action(); 3];
    for (signal, before) in SIGNALS.into_iter().zip(&mut before) {
        // SAFETY: a null pointer asks for the handler without setting one.
        os_result(unsafe { libc::sigaction(signal, ptr::null(), before) })?;
    }
    let _ = BEFORE.set(before);
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = recover;
    // On the alternate stack, because the handler before may be the one that tells of a stack that ran over.
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    let action = libc::sigaction { sa_sigaction: handler as usize, sa_flags: flags, ..no_action() };
    for signal in SIGNALS {
        // SAFETY: the action is complete, and its handler does only what is safe in one.
        os_result(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })?;
    }
    Ok(())
}

/// The default action, with no signal blocked.
fn no_action() -> libc::sigaction {
    // SAFETY: a structure of integers and an optional function, all of which may be zero.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn os_result(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the assembly go on behind an XRSTOR that has faulted, with the vector in R8; hands other signals on.
extern "C" fn recover(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a `ucontext_t`, which is the handler's alone while it runs.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let [rip, r8, trap] = [libc::REG_RIP, libc::REG_R8, libc::REG_TRAPNO].map(libc::c_int::cast_unsigned);
    let [rip, r8, trap] = [rip, r8, trap].map(|register| register as usize);
    let load = (&raw const selfsame_x86_through_load).addr();
    let restore = (&raw const selfsame_x86_through_restore).addr();
    if registers[rip] != load.cast_signed() as libc::greg_t {
        hand_on(signal, info, context);
        return;
    }
    // The kernel makes SIGILL of XFD's #NM, and does not say of which trap.
    registers[r8] = if signal == libc::SIGILL { 7 } else { registers[trap] };
    registers[rip] = restore.cast_signed() as libc::greg_t;
}

/// Does with a signal what would have happened without the handler.
fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let index = SIGNALS.iter().position(|own| *own == signal);
    let before = index.and_then(|index| BEFORE.get()?.get(index).copied());
    let Some(before) = before.filter(|action| !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)) else {
        // The instruction runs again, faults again, and then the default is what happens.
        // SAFETY: the default is always a handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    };
    if before.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with SA_SIGINFO this is a function of three arguments.
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { core::mem::transmute(before.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO this is a function of one argument.
        let handler: extern "C" fn(libc::c_int) = unsafe { core::mem::transmute(before.sa_sigaction) };
        handler(signal);
    }
}
