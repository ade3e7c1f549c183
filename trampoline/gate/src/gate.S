# The gate: three pages that lie at one address, SLOT_VA + GATE, in three views. Execution falls through from one into
# the next at each VMFUNC:
#
#   home    stub_entry ─ vmfunc 1 ┐                                                    ┌ stub_return ─ ret
#   gate                          └ open: arm, check CR3 ─ vmfunc 2 ┐   ┌ close: disarm ─ vmfunc 0 ┘
#   window                                                          └ enter … leave ─ vmfunc 1 ┘ (to close)
#
# The pages are data here. The monitor copies them into frames and maps those execute-only; nothing in them depends on
# where this file is linked, on the VM, or on any address but the slot offsets of abi/src/map.rs.
#
# Who writes what: the stub page is only a convenience of home (a guest may map anything at that address); gate and
# window page are host-owned, the same bytes for every VM (rule G2).

.set OPEN,       0x103                  # gate page: arm, check, open
.set ENTER,      OPEN + 37              # window page: behind the opening VMFUNC
.set ABORT,      OPEN + 45              # gate page: CR3 was wrong
.set CLOSE,      0x1a8                  # gate page: behind the leaving VMFUNC
.set RETURN,     CLOSE + 15             # home: behind the closing VMFUNC
.set STUB_ENTRY, OPEN - 21
.set STUB_ABORT, 0x200                  # home: where the monitor resumes an aborted call

.set WINDOW_ENTRY, LIST + 16            # slot 2 of the EPTP list
.set ARMED,   0x1e                      # low byte of a valid EPT pointer: write-back, four levels
.set AT_REST, 0x06                      # walk length 0: invalid
.set ABORTED, 4                         # sluice_abi::call::Code::Aborted
.set TF_NT_AC, 0x44100

.set STATE_ACCEPTED,   STATE + 0        # sluice_inside::Window, first fields
.set STATE_CALLER_RSP, STATE + 32
.set STATE_PHASE,      STATE + 48
.set FILLING, 0                         # sluice_inside's Phase::FILLING
.set STACK_TOP, STACK + STACK_LEN

.macro vmfunc_
    .byte 0x0f, 0x01, 0xd4
.endm

# The 32-bit displacement of a RIP-relative operand at slot offset `to`, `behind` bytes before its instruction's end.
.macro rip32 page, to, behind=0
    .long (\to) - (. + 4 + \behind - \page)
.endm

# ------------------------------------------------------------------------------------------------------- home: the stub
# u64 stub_entry(u64 count rdi): RAX status, R8-R11 accepted. An ordinary function: keeps RBX, RBP, R12-R15 and flags.
.section .rodata.sluice_gate, "a"
.balign 4096
.global sluice_stub_page
sluice_stub_page:
    .fill STUB_ENTRY, 1, 0xcc
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    pushfq                       # the gate clears DF and IF
    mov ecx, 1
    xor eax, eax
    vmfunc_                      # to the gate view, at OPEN
    .org sluice_stub_page + RETURN, 0xcc    # what follows the VMFUNC is in the gate page, at OPEN
    mov rax, rdx                 # the status came past two VMFUNCs that want EAX = 0
stub_restore:
    popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
    .org sluice_stub_page + STUB_ABORT, 0xcc
    jmp stub_restore             # the monitor has set RAX, R8-R11 and RSP, and cleared all else
    .org sluice_stub_page + 4096, 0xcc

# ------------------------------------------------------------------------------------------------------------- the gate
# A guest can enter here at any byte, with any registers: its own page at this address may hold a VMFUNC anywhere (A2).
# So: straight-line code, two stores, one forward branch, and no byte that starts something else. Displacement bytes are
# all taken from 06 07 16 17 1E 1F 27 2F 37 3F 60 61 82 9A CE D4 EA, which are #UD in 64-bit mode; the distances of
# map::LIST and map::CONSTANT were chosen for that. Encodings are written out, lest an assembler prefer another.
.balign 4096
.global sluice_gate_page
sluice_gate_page:
    .fill OPEN, 1, 0xcc
    .byte 0xc6, 0x05             # mov byte [list + 16], ARMED   only this arms a window (A1, A3), and who executes it
    rip32 sluice_gate_page, WINDOW_ENTRY, 1 #                    must pass the check below; one byte, so that a slot
    .byte ARMED                  #                               that the host disabled by bit 63 stays so (A22)
    .byte 0x0f, 0x20, 0xda       # mov rdx, cr3
    .byte 0x48, 0xc1, 0xea, 0x0c # shr rdx, 12                   PCID is masked; LAM bits stay and are refused
    .byte 0x48, 0x3b, 0x15       # cmp rdx, [constant]           forged page tables end here (A4, A18): in the window
    rip32 sluice_gate_page, CONSTANT + CONSTANT_WORD #           the first fetch would already walk them
    .byte 0x75, 0x16             # jne ABORT
    .byte 0x31, 0xc9             # xor ecx, ecx
    .byte 0xb1, 0x02             # mov cl, 2                     (`mov ecx, 2` has zeros: `add [rax], al`)
    .byte 0x31, 0xc0             # xor eax, eax
    .byte 0xfc                   # cld                           (A6)
    .byte 0xfa                   # cli                           no interrupt in the window that does not exit (A6, A7)
    .byte 0x0f, 0xae, 0xea       # lfence                        the check is over before the window opens (A13)
    vmfunc_                      # to the window view, at ENTER
    .org sluice_gate_page + ABORT, 0xcc
    .byte 0x0f, 0x01, 0xc1       # vmcall                        the monitor ends the call (rule G9)
    .org sluice_gate_page + CLOSE, 0xcc
    .byte 0xc6, 0x05             # mov byte [list + 16], AT_REST
    rip32 sluice_gate_page, WINDOW_ENTRY, 1
    .byte AT_REST
    .byte 0x31, 0xc9             # xor ecx, ecx
    .byte 0x31, 0xc0             # xor eax, eax
    .byte 0xfc                   # cld
    vmfunc_                      # to home, at RETURN
    .org sluice_gate_page + 4096, 0xcc

# ----------------------------------------------------------------------------------------------------------- the window
# RDI: count, checked inside. Everything else is the guest's and not looked at.
.balign 4096
.global sluice_window_page
sluice_window_page:
    .fill ENTER, 1, 0xcc
    .byte 0xc7, 0x05             # mov dword [state.phase], FILLING  from here on an aborted call is this one, which has
    rip32 sluice_window_page, STATE_PHASE, 4 #                   delivered nothing yet, and no more the last (A17, A20)
    .long FILLING
    .byte 0x48, 0x89, 0x25       # mov [state.caller_rsp], rsp
    rip32 sluice_window_page, STATE_CALLER_RSP
    .byte 0x48, 0x8d, 0x25       # lea rsp, [stack top]          own stack before anything needs one (A5)
    rip32 sluice_window_page, STACK_TOP
    pushfq
    test dword ptr [rsp], TF_NT_AC      # single-step, nested task, alignment checks (A6)
    jnz refuse
    .byte 0x48, 0x8d, 0x35       # lea rsi, [state]
    rip32 sluice_window_page, STATE
    .byte 0xe8                   # call window_entry
    rip32 sluice_window_page, CODE
    mov rdx, rax                 # status
    .byte 0x4c, 0x8b, 0x05       # mov r8, [state.accepted]
    rip32 sluice_window_page, STATE_ACCEPTED
    .byte 0x4c, 0x8b, 0x0d       # mov r9, [state.accepted + 8]
    rip32 sluice_window_page, STATE_ACCEPTED + 8
    .byte 0x4c, 0x8b, 0x15       # mov r10, [state.accepted + 16]
    rip32 sluice_window_page, STATE_ACCEPTED + 16
    .byte 0x4c, 0x8b, 0x1d       # mov r11, [state.accepted + 24]
    rip32 sluice_window_page, STATE_ACCEPTED + 24
scrub:
    .byte 0x48, 0x8b, 0x25       # mov rsp, [state.caller_rsp]
    rip32 sluice_window_page, STATE_CALLER_RSP
    xor esi, esi                 # what window_entry may have left in registers (A15); it keeps RBX, RBP, R12-R15
    xor edi, edi
    jmp leave_
    .org sluice_window_page + CLOSE - 10, 0xcc
leave_:
    mov ecx, 1
    xor eax, eax                 # flags too
    vmfunc_                      # to the gate view, at CLOSE (a test holds the bytes to that)
    .fill 8, 1, 0xcc
refuse:
    mov edx, ABORTED
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    jmp scrub
    .org sluice_window_page + 4096, 0xcc

.text
