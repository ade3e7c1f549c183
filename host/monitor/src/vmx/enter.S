# Enters a guest and comes back at its next exit.
#
#   u8 vmx_enter(Registers *rdi, u8 launched rsi)
#   returns 0 after an exit, 1 where the processor refused the entry (VM-instruction error in the VMCS)
#
#   1  saves what the host's ABI says is ours to keep, and where the guest's registers live
#   2  tells the processor the stack and address to come back to
#   3  loads the guest's registers and enters
#   4  (vmx_exit) saves them and returns as if vmx_enter had been an ordinary call
#
# Guest registers lie in the order of their numbers: rax rcx rdx rbx (rsp) rbp rsi rdi r8..r15.
# RSP, RIP and RFLAGS are the VMCS's.


.global vmx_enter
vmx_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov eax, {HOST_RSP}
    vmwrite rax, rsp
    jna 2f
    lea rcx, [rip + vmx_exit]
    mov eax, {HOST_RIP}
    vmwrite rax, rcx
    jna 2f
    test sil, sil                   # the moves below leave ZF alone
    mov rax, [rdi + 0x00]
    mov rcx, [rdi + 0x08]
    mov rdx, [rdi + 0x10]
    mov rbx, [rdi + 0x18]
    mov rbp, [rdi + 0x28]
    mov rsi, [rdi + 0x30]
    mov r8,  [rdi + 0x40]
    mov r9,  [rdi + 0x48]
    mov r10, [rdi + 0x50]
    mov r11, [rdi + 0x58]
    mov r12, [rdi + 0x60]
    mov r13, [rdi + 0x68]
    mov r14, [rdi + 0x70]
    mov r15, [rdi + 0x78]
    mov rdi, [rdi + 0x38]
    jnz 1f
    vmlaunch
    jmp 2f
1:  vmresume
2:  pop rdi                         # refused: no guest register was changed
    mov eax, 1
    jmp 3f

vmx_exit:
    xchg rdi, [rsp]
    mov [rdi + 0x00], rax
    mov [rdi + 0x08], rcx
    mov [rdi + 0x10], rdx
    mov [rdi + 0x18], rbx
    mov [rdi + 0x28], rbp
    mov [rdi + 0x30], rsi
    mov [rdi + 0x40], r8
    mov [rdi + 0x48], r9
    mov [rdi + 0x50], r10
    mov [rdi + 0x58], r11
    mov [rdi + 0x60], r12
    mov [rdi + 0x68], r13
    mov [rdi + 0x70], r14
    mov [rdi + 0x78], r15
    pop rax
    mov [rdi + 0x38], rax
    xor eax, eax
3:  pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
