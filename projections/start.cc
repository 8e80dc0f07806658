#include "projections/start.h"

#include <fmt/format.h>

#include <filesystem>

#include "projections/checkpoint.h"
#include "projections/fetch.h"

namespace reprise {
namespace {

// What RocksDB cannot open is no checkpoint either, nor is another cloud's.
Status opens_as(const StoreOptions& options, CloudId wanted) {
  const auto store = Store::open(options);
  if (!store) return store.error();
  const CloudId cloud = (*store)->head().cloud;
  if (!wanted || cloud == wanted) return {};
  return {Errc::conflict, fmt::format("it is of cloud {}, not of {}", cloud.str(), wanted.str())};
}

}  // namespace

std::string begin_from_checkpoint(const std::string& checkpoints, const StoreOptions& options, CloudId cloud) {
  std::error_code error;
  std::string words;
  if (checkpoints.empty() || std::filesystem::exists(options.dir + "/CURRENT", error)) return words;
  for (const auto& checkpoint : list_checkpoints(checkpoints)) {
    const Status taken = adopt_checkpoint(checkpoint, options.dir);
    const Status fits = taken ? opens_as(options, cloud) : taken;
    if (fits) return words + fmt::format("begins from the checkpoint {}", checkpoint.dir);
    words += fmt::format("the checkpoint of seq {} is refused: {}; ", checkpoint.seq, fits.error().text);
    if (taken) std::filesystem::remove_all(options.dir, error);
  }
  return words.empty() ? words : words + "begins from the first record";
}

const CloudCreated* genesis_of(const Record& record) {
  if (record.decisions.empty() || record.decisions[0].events.empty()) return nullptr;
  const Event& event = record.decisions[0].events[0];
  return event.is<CloudCreated>() ? &event.as<CloudCreated>() : nullptr;
}

Status check_genesis(Log& log, const Store& store) {
  const auto cut = [&log](std::int64_t begin) {
    return Error{Errc::broken, fmt::format("the log at {} begins at offset {} and not with a genesis: its beginning was deleted; "
                                           "restore it, or go on with a copy that is whole",
                                           log.place(), begin)};
  };
  const auto first = fetch(log, Topic::events, 0, 1, log_patience);
  if (!first) {
    // Of an emptied log nothing comes, and its beginning is its end.
    const auto begin = log.begin(Topic::events);
    return begin && *begin > 0 ? cut(*begin) : first.error();
  }
  const auto record = decode_record((*first)[0].bytes);
  const CloudCreated* genesis = record ? genesis_of(*record) : nullptr;
  if (!genesis && (*first)[0].offset > 0) return cut((*first)[0].offset);
  if (!genesis)
    return {Errc::broken, fmt::format("the log at {} does not begin with a genesis{}", log.place(),
                                      record ? "" : ": " + record.error().text)};
  const StoreHead& head = store.head();
  if (genesis->cloud == head.cloud && record->log == head.origin) return {};
  return {Errc::exists,
          fmt::format("the store in {} is of cloud {}, log {}; the log at {} is of cloud {}, log {}: give "
                      "another folder, or the log that belongs to it",
                      store.dir(), head.cloud.str(), head.origin.str(), log.place(), genesis->cloud.str(),
                      record->log.str())};
}

Status check_head(Log& log, const Store& store) {
  const Head& head = store.head().head;
  const auto entries = fetch(log, Topic::events, head.offset, 1, log_patience);
  if (!entries) return entries.error();
  Hash hash;
  const auto record = decode_record((*entries)[0].bytes, &hash);
  if ((*entries)[0].offset == head.offset && record && hash == head.hash) {
    if (record->digest == store.head().digest) return {};
    return {Errc::conflict, fmt::format("the store's digest at seq {} is {}, but the record says {}", head.seq,
                                        store.head().digest.hex(), record->digest.hex())};
  }
  return {Errc::broken,
          fmt::format(
              "at offset {} of the log at {} stood seq {} with hash {}; now there is {}", head.offset,
              log.place(), head.seq, head.hash.hex(),
              record ? fmt::format("seq {} with hash {}", record->seq, hash.hex()) : record.error().text)};
}

}  // namespace reprise
