#include "agents/compute/kvm_probe.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string_view>

#include "agents/core/child_process.h"

// The probe guest: one boot sector, loaded at 0x7c00. It ends QEMU through isa-debug-exit at port 0xf4.
asm(R"(
  .pushsection .rodata
  .global reprise_probe_sector
reprise_probe_sector:
  .code16
  cli
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movw $0x7c00, %sp
  sti
  movw 0x46c, %bx               # the BIOS's tick counter: it moves only when interrupts arrive
1: hlt
  movw 0x46c, %ax
  subw %bx, %ax
  cmpw $2, %ax
  jb 1b
  cli
  movl $0x1000, %edi            # page tables at 0x1000, 0x2000, 0x3000: the first 2 MiB as they are
  xorl %eax, %eax
  movl $3072, %ecx
  cld
  rep stosl
  movl $0x2003, 0x1000
  movl $0x3003, 0x2000
  movl $0x0083, 0x3000
  movl $0x1000, %eax
  movl %eax, %cr3
  movl %cr4, %eax
  orl $0x20, %eax
  movl %eax, %cr4
  movl $0xc0000080, %ecx
  rdmsr
  orl $0x100, %eax
  wrmsr
  lgdt (9f - reprise_probe_sector + 0x7c00)
  movl %cr0, %eax
  orl $0x80000001, %eax
  movl %eax, %cr0
  ljmp $8, $(2f - reprise_probe_sector + 0x7c00)
  .code64
2: movq $10000000, %rcx
3: decq %rcx
  jnz 3b
  movb $0x31, %al
  outb %al, $0xf4
4: jmp 4b
  .balign 8
8: .quad 0
  .quad 0x00209a0000000000
9: .word 15
  .long 8b - reprise_probe_sector + 0x7c00
  .org reprise_probe_sector + 510
  .word 0xaa55
  .code64
  .popsection
)");
extern "C" const char reprise_probe_sector[512];

namespace reprise::compute {
namespace {

constexpr int exit_code_of_probe = 0x31 << 1 | 1;
constexpr std::chrono::seconds probe_deadline{5};
constexpr std::size_t disk_bytes = 1 << 20;  // SeaBIOS does not boot from a smaller one

KvmProbe no(std::string reason) { return {false, std::move(reason)}; }

}  // namespace

KvmProbe boot_probe_guest(const std::string& folder, const std::string& accel, const std::string& emulator) {
  const auto path = folder + "/kvm-probe.img";
  std::string disk(disk_bytes, '\0');
  std::memcpy(disk.data(), reprise_probe_sector, sizeof reprise_probe_sector);
  if (!std::ofstream(path, std::ios::binary | std::ios::trunc).write(disk.data(), disk_bytes).flush())
    return no(fmt::format("cannot write {}", path));
  const auto end = run_child({emulator,
                              "-accel",
                              accel,
                              "-machine",
                              "q35",
                              "-cpu",
                              accel == "kvm" ? "host" : "qemu64",
                              "-m",
                              "64",
                              "-nodefaults",
                              "-no-user-config",
                              "-display",
                              "none",
                              "-no-reboot",
                              "-drive",
                              "if=none,id=d,format=raw,readonly=on,file=" + path,
                              "-device",
                              "virtio-blk-pci,drive=d,bootindex=0",
                              "-device",
                              "isa-debug-exit,iobase=0xf4,iosize=4"},
                             probe_deadline);
  unlink(path.c_str());
  if (!end) return no(end.error().text);
  if (end->exit_code == exit_code_of_probe) return {true, ""};
  if (end->timed_out) return no(fmt::format("a probe guest hangs under {}", accel));
  return no(fmt::format("a probe guest does not boot under {}: {}", accel, end->words()));
}

KvmProbe probe_kvm(const std::string& folder, const std::string& boot_id, const std::string& emulator) {
  const auto remembered = folder + "/kvm-probe";
  {
    std::ifstream file(remembered);
    std::string boot, verdict, reason;
    if (std::getline(file, boot) && std::getline(file, verdict) && boot == boot_id) {
      std::getline(file, reason);
      return {verdict == "works", reason};
    }
  }
  auto probe = access("/dev/kvm", R_OK | W_OK) == 0 ? boot_probe_guest(folder, "kvm", emulator)
                                                    : no("/dev/kvm is not there or not ours to open");
  for (auto& c : probe.reason)
    if (c == '\n') c = ' ';
  std::ofstream(remembered, std::ios::trunc) << boot_id << '\n'
                                             << (probe.works ? "works" : "fails") << '\n'
                                             << probe.reason << '\n';
  return probe;
}

}  // namespace reprise::compute
