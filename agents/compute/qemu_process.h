// The process of a guest, where this process can see it (libvirtd's host is ours, its namespace may not be).
#pragma once

#include <string>

namespace reprise::compute {

// SIGKILL for the QEMU of the domain of this name, if it can end by nothing else: it is stopped (SIGSTOP,
// a debugger), or `hangs`. libvirt asks by SIGTERM first and waits for ten seconds.
void kill_hung_qemu(const std::string& domain, bool hangs);

}  // namespace reprise::compute
