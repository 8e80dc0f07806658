// A guest of 512 bytes: boots in a second or two without a kernel. It says `guest ready` on ttyS0,
// powers itself off at the press of a key, and does as the power button asks.
#pragma once

#include <string>

namespace reprise {

// A raw disk of 1 MiB with it.
void write_boot_sector_disk(const std::string& path);

}  // namespace reprise
