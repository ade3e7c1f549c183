# From the boot loader to Rust.
#
# GRUB (BIOS or UEFI) loads the image where linker/monitor.ld put it and enters `start` in 32-bit protected mode, paging
# off: EAX the Multiboot2 magic, EBX the boot information. See: Multiboot2, "I386 machine state".
#
#   1  builds page tables: the first 4 GiB one to one in 2 MiB pages, the rest of 512 GiB in 1 GiB pages if possible
#   2  turns on long mode with no-execute and write protection
#   3  calls monitor_main(magic, information) (boot.rs) on the boot stack

.set MAGIC, 0xe85250d6
.set HEADER_LEN, header_end - header

.section .multiboot, "a"
.balign 8
header:
    .long MAGIC
    .long 0                             # architecture: 32-bit protected mode
    .long HEADER_LEN
    .long -(MAGIC + HEADER_LEN)
    .short 6, 0                         # tag: modules on page boundaries
    .long 8
    .short 0, 0                         # end
    .long 8
header_end:

.set CR0_LONG, 0x80010033               # PG, WP, NE, ET, MP, PE
.set CR4_PAE, 0x20
.set EFER, 0xc0000080
.set EFER_LME_NXE, 0x900
.set PRESENT_WRITE, 0x3
.set PRESENT_WRITE_LARGE, 0x83

.section .text.boot, "ax"
.code32
.global start
start:
    cli
    cld
    mov edi, eax
    mov esi, ebx
    mov esp, offset boot_stack_top

    mov eax, offset boot_pdpt
    or eax, PRESENT_WRITE
    mov [boot_pml4], eax
    mov ecx, 0                          # four tables of 2 MiB pages, one behind the other
1:  mov eax, ecx
    shl eax, 21
    or eax, PRESENT_WRITE_LARGE
    mov [boot_pd + ecx * 8], eax
    inc ecx
    cmp ecx, 2048
    jne 1b
    mov ecx, 0
2:  mov eax, ecx
    shl eax, 12
    add eax, offset boot_pd
    or eax, PRESENT_WRITE
    mov [boot_pdpt + ecx * 8], eax
    inc ecx
    cmp ecx, 4
    jne 2b
    mov eax, 0x80000001
    push esi
    push edi
    cpuid
    pop edi
    pop esi
    bt edx, 26                          # 1 GiB pages
    jnc 4f
    mov ecx, 4
3:  mov eax, ecx
    shl eax, 30
    or eax, PRESENT_WRITE_LARGE
    mov [boot_pdpt + ecx * 8], eax
    mov eax, ecx
    shr eax, 2
    mov [boot_pdpt + ecx * 8 + 4], eax
    inc ecx
    cmp ecx, 512
    jne 3b
4:  call enter_long_mode_32
    .byte 0xea                          # far jump, 32-bit offset, 64-bit code segment
    .long start64
    .short 8

# Shared with the other processors (ap.S): paging on, GDT loaded. Clobbers EAX, ECX, EDX.
.global enter_long_mode_32
enter_long_mode_32:
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov ecx, EFER
    rdmsr
    or eax, EFER_LME_NXE
    wrmsr
    mov eax, CR0_LONG
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    ret

.code64
start64:
    call load_data_segments
    lea rsp, [rip + boot_stack_top]
    call {MONITOR_MAIN}
5:  hlt
    jmp 5b

.global load_data_segments
load_data_segments:
    mov ax, 16
    mov ss, ax
    mov ds, ax
    mov es, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    ret

.section .rodata.boot, "a"
.balign 8
.global boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 8: 64-bit code
    .quad 0x00cf93000000ffff            # 16: data
    .quad 0x00cf9b000000ffff            # 24: 32-bit code, for the other processors' start
boot_gdt_end:
.global boot_gdt_pointer
boot_gdt_pointer:
    .short boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

.section .bss.boot, "aw", @nobits
.balign 4096
.global boot_pml4
boot_pml4:  .skip 4096
boot_pdpt:  .skip 4096
boot_pd:    .skip 4 * 4096
.balign 16
boot_stack: .skip 65536
boot_stack_top:

.text
