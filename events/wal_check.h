// A torn end, or a changed byte? RocksDB's write-ahead log and MANIFEST (its log format: blocks of 32 KiB,
// records of crc32c, length, type and data) end, for RocksDB, at the first record that claims more bytes than
// the file has, or that says that it is left over from a recycled file: it drops the rest without a word, as
// after a crash. A changed byte in a length or a type looks the same, and would cut off all that follows. The
// checksum tells: it covers the data, so the true length is one with which it is right; and we recycle no
// files.
#pragma once

#include <string>

namespace reprise {

// What was changed in the write-ahead logs and MANIFESTs of that folder, in words; empty: nothing that RocksDB
// would not say itself. Files that cannot be read are left to it.
std::string find_changed_header(const std::string& dir);

// Where one write-ahead log of that folder does not go on where the one before it ends: the end of that one is
// missing, as in a copy that was made while it was written. Empty: nowhere. A write that failed may look the
// same.
std::string find_missing_end(const std::string& dir);

}  // namespace reprise
