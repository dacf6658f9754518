//! On which CPU a vCPU's state may be, apart from its memory.

use core::marker::PhantomPinned;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::CpuId;

/// The CPU that may hold newer state of a vCPU than memory: the dirty-CPU protocol.
///
/// A CPU claims a vCPU before it loads anything of it. The claim outlives the run and the idle time after it, as state stays in
/// registers until somebody else needs them; it ends when the last of the state is in memory, which is when the step that
/// saves it *has run*. Until then no other CPU may load the vCPU, nor software look at its save area. Who wants it sends the
/// CPU an interrupt, and that CPU flushes ([`Switcher::flush`](crate::Switcher::flush)).
///
/// Neither it nor what contains it is [`Unpin`]: `&mut Vcpu` would otherwise promise the compiler that nobody else stores to any
/// of its bytes, and the holder's step does while the next CPU looks whether it may have the vCPU.
///
/// ```compile_fail,E0277
/// fn is_nobody_elses<T: Unpin>() {}
/// is_nobody_elses::<selfsame_switch::Vcpu>();
/// ```
#[derive(Debug)]
pub struct Residence(AtomicU32, PhantomPinned);

/// A vCPU is still on a CPU.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[error("the vcpu's state is still on cpu {}", cpu.number())]
pub struct StillResident {
    /// The CPU to ask for a flush.
    pub cpu: CpuId,
}

impl Residence {
    const NOWHERE: u32 = u32::MAX;

    /// In memory, and nowhere else.
    #[must_use]
    pub const fn in_memory() -> Self {
        Self(AtomicU32::new(Self::NOWHERE), PhantomPinned)
    }

    /// Returns the CPU that has the state.
    #[must_use]
    #[inline]
    pub fn cpu(&self) -> Option<CpuId> {
        u16::try_from(self.0.load(Ordering::Acquire)).ok().map(CpuId::new)
    }

    /// Takes the vCPU for a CPU, which may have it already.
    ///
    /// The caller sees to it that nobody else claims the vCPU meanwhile. The only other write is then what the holder stores to
    /// end its claim, which may come at any time, so that the word is shared; where there is no holder there is none, and no
    /// locked instruction is needed.
    ///
    /// # Errors
    ///
    /// Names the CPU that has it.
    #[inline]
    pub fn claim(&self, cpu: CpuId) -> Result<(), StillResident> {
        match self.cpu() {
            None => {
                self.0.store(u32::from(cpu.number()), Ordering::Relaxed);
                Ok(())
            }
            Some(holder) if holder == cpu => Ok(()),
            Some(holder) => Err(StillResident { cpu: holder }),
        }
    }

    /// Returns where assembly stores 0xFFFF_FFFF to end the claim, right behind the step that saves the vCPU.
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u32> {
        NonNull::from(&self.0).cast()
    }

    /// Ends the claim. Called when the step that saves the vCPU has run, by who ran it.
    #[inline]
    pub fn release(&self) {
        self.0.store(Self::NOWHERE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_claim_shares_the_word_with_the_holder_that_ends_its_own() {
        let (holder, claimer) = (CpuId::new(0), CpuId::new(1));
        let residence = Residence::in_memory();
        assert_eq!(residence.claim(holder), Ok(()));
        thread::scope(|scope| {
            scope.spawn(|| residence.release());
            while residence.claim(claimer) == Err(StillResident { cpu: holder }) {
                thread::yield_now();
            }
        });
        assert_eq!(residence.cpu(), Some(claimer));
    }
}
