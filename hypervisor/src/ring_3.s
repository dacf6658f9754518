# To ring 3 for one CPUID, and back by the trap that ends it there: CPUID's own, or that of the HLT behind it.

# The page that ring 3 sees.
.section .ring_3, "ax", @progbits
.code64
    cpuid
    hlt

.section .text.ring_3, "ax", @progbits

# enter_ring_3(leaf: edi, subleaf: esi, left: rdx)
.globl enter_ring_3
.type enter_ring_3, @function
enter_ring_3:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdx
    mov qword ptr gs:[{stack_pointer}], rsp
    mov eax, edi
    mov ecx, esi
    xor ebx, ebx
    xor edx, edx
    push {data}
    push 0                          # ring 3 has no stack, and uses none
    push 2                          # RFLAGS: no interrupts, no I/O
    push {code}
    movabs r8, {page}
    push r8
    iretq
.size enter_ring_3, . - enter_ring_3

# A stub of traps.s comes here with what it left on the stack, and the registers of ring 3.
.type leave_ring_3, @function
leave_ring_3:
    mov r8, qword ptr [rsp]         # vector
    mov r9, qword ptr [rsp + 8]     # error code
    mov r10, qword ptr [rsp + 16]   # RIP
    mov r11d, {ring_0_data}
    mov ss, r11d
    mov ds, r11d
    mov es, r11d
    mov rsp, qword ptr gs:[{stack_pointer}]
    pop rdi
    mov dword ptr [rdi + {regs}], eax
    mov dword ptr [rdi + {regs} + 4], ebx
    mov dword ptr [rdi + {regs} + 8], ecx
    mov dword ptr [rdi + {regs} + 12], edx
    mov qword ptr [rdi + {vector}], r8
    mov qword ptr [rdi + {error}], r9
    mov qword ptr [rdi + {rip}], r10
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
.size leave_ring_3, . - leave_ring_3
