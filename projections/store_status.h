// RocksDB's statuses as our errors, with the folder and what to do. For store.cc and view.cc alone.
#pragma once

#include <rocksdb/status.h>

#include <string>

#include "events/result.h"

namespace reprise {
Error store_error(const rocksdb::Status& status, const std::string& dir);
}  // namespace reprise
