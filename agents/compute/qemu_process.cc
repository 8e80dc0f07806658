#include "agents/compute/qemu_process.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace reprise::compute {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// libvirt starts it with `-name guest=NAME,debug-threads=on`.
bool is_qemu_of(const fs::path& process, const std::string& domain) {
  const auto arguments = text_of(process / "cmdline");
  const std::string named("\0-name\0guest=", 13);
  return arguments.find(named + domain + ",") != std::string::npos;
}

// The state stands behind the name in brackets, which may hold anything.
bool is_stopped(const fs::path& process) {
  const auto stat = text_of(process / "stat");
  const auto end = stat.rfind(')');
  if (end == std::string::npos || end + 2 >= stat.size()) return false;
  return stat[end + 2] == 'T' || stat[end + 2] == 't';
}

}  // namespace

void kill_hung_qemu(const std::string& domain, bool hangs) {
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error); !error && entry != fs::directory_iterator{};
       entry.increment(error)) {
    const auto name = entry->path().filename().string();
    if (!std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    // The descriptor first: what is looked at and killed through it is one process.
    const int pid = std::atoi(name.c_str());
    const auto handle = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (handle < 0) continue;
    if (is_qemu_of(entry->path(), domain) && (hangs || is_stopped(entry->path())))
      syscall(SYS_pidfd_send_signal, handle, SIGKILL, nullptr, 0);
    close(handle);
  }
}

}  // namespace reprise::compute
