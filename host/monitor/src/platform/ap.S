# How the other processors start. See: SDM volume 3, "Typical AP Initialization Sequence".
#
# The bytes from ap_start to ap_end are copied to page AP_PAGE below 1 MiB; a start-up IPI enters them in real mode.
# Each processor takes a ticket, finds its stack by it, and calls ap_main(ticket) (smp.rs).

.section .rodata.ap, "a"
.code16
.global ap_start
ap_start:
    cli
    cld
    xor ax, ax
    mov ds, ax
    .byte 0x66, 0x0f, 0x01, 0x16        # lgdt, 32-bit base, from a 16-bit address
    .short AP_PAGE + (ap_gdt_pointer - ap_start)
    mov eax, cr0
    or eax, 1
    mov cr0, eax
    .byte 0x66, 0xea                    # far jump, 32-bit offset, 32-bit code segment
    .long AP_PAGE + (ap_protected - ap_start)
    .short 24
.code32
ap_protected:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, 1
    lock xadd [ap_ticket], eax          # 1, 2, ...
    mov edi, eax
    cmp eax, AP_MAX
    jae 2f                              # more processors than the monitor uses: stay here
    shl eax, AP_STACK_SHIFT
    add eax, offset ap_stacks
    mov esp, eax                        # ticket n owns the stack that ends at ap_stacks + n * size
    mov eax, offset enter_long_mode_32
    call eax
    .byte 0xea
    .long ap_long
    .short 8
2:  hlt
    jmp 2b
.balign 8
ap_gdt_pointer:
    .short 4 * 8 - 1
    .long boot_gdt
.global ap_end
ap_end:

.section .text.ap, "ax"
.code64
ap_long:
    call load_data_segments
    mov esp, esp
    mov edi, edi
    call {AP_MAIN}
1:  hlt
    jmp 1b

.section .data.ap, "aw"
.balign 4
.global ap_ticket
ap_ticket: .long 1

.section .bss.ap, "aw", @nobits
.balign 16
ap_stacks: .skip (AP_MAX - 1) << AP_STACK_SHIFT

.text
