// A torn end, or a changed byte? RocksDB's write-ahead log and MANIFEST (its log format: blocks of 32 KiB,
// records of crc32c, length, type and data) end, for RocksDB, at the first record that claims more bytes than
// the file has, or that says that it is left over from a recycled file: it drops the rest without a word, as
// after a crash. A changed byte in a length or a type looks the same, and would cut off all that follows. The
// checksum tells: it covers the data, so the true length is one with which it is right; and we recycle no
// files.
#pragma once

#include <string>

namespace reprise {

// The offset in the file of a record whose length or type was changed, or -1. A file that cannot be read has
// none.
long find_changed_header(const std::string& path);

}  // namespace reprise
