#include "tests/contract/boot_sector_guest.h"

#include <cstring>
#include <fstream>

asm(R"(
  .pushsection .rodata
  .global reprise_guest_sector
reprise_guest_sector:
  .code16
  cli
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movw $0x7c00, %sp
  cld
  sti
  movw $0x602, %dx              # PM1_EN of q35 under SeaBIOS: tell us of the power button
  movw $0x100, %ax
  outw %ax, %dx
  movw $(7f - reprise_guest_sector + 0x7c00), %si
  call 5f
1: hlt                          # until the next timer tick
  movb $1, %ah
  int $0x16                     # a key?
  jnz 2f
  movw $0x600, %dx              # PM1_STS
  inw %dx, %ax
  testb $1, %ah
  jz 1b
2: movw $(8f - reprise_guest_sector + 0x7c00), %si
  call 5f
  movw $0x604, %dx              # PM1_CNT: sleep type 0 is S5
  movw $0x2000, %ax
  outw %ax, %dx
3: hlt
  jmp 3b
5: movw $0x3f8, %dx             # prints what %si points to
6: lodsb
  testb %al, %al
  jz 4f
  outb %al, %dx
  jmp 6b
4: ret
7: .asciz "guest ready\r\n"
8: .asciz "guest off\r\n"
  .org reprise_guest_sector + 510
  .word 0xaa55
  .code64
  .popsection
)");
extern "C" const char reprise_guest_sector[512];

namespace reprise {

void write_boot_sector_disk(const std::string& path) {
  std::string disk(1 << 20, '\0');
  std::memcpy(disk.data(), reprise_guest_sector, sizeof reprise_guest_sector);
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(disk.data(), static_cast<std::streamsize>(disk.size()));
}

}  // namespace reprise
