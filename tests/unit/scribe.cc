#include "tests/unit/scribe.h"

#include <fmt/format.h>

namespace reprise::testing {

const Written& Scribe::write(std::vector<Decision> decisions) {
  Written made;
  made.record = {.log = head.log,
                 .level = head.level,
                 .seq = head.seq + 1,
                 .prev = head.hash,
                 .at_ms = at_ms,
                 .controller = head.controller,
                 .positions = positions,
                 .decisions = std::move(decisions)};
  for (const auto& decision : made.record.decisions) {
    for (const auto& event : decision.events) {
      if (event.is<CloudCreated>()) made.record.log = event.as<CloudCreated>().log, made.record.level = 1;
      if (event.is<LogOpened>()) made.record.log = event.as<LogOpened>().log;
      if (event.is<ControllerStarted>()) made.record.controller = event.as<ControllerStarted>().controller;
    }
  }
  fold(state, made.record);
  made.record.digest = state.digest();
  SealedRecord sealed = encode(made.record);
  made.bytes = std::move(sealed.bytes);
  made.hash = sealed.hash;
  head = advance(head, made.record, made.hash, static_cast<std::int64_t>(head.seq));
  if (!keep_records_) records.clear();
  records.push_back(std::move(made));
  return records.back();
}

const Written& Scribe::write(std::vector<Event> events) {
  return write(std::vector{by_controller(std::move(events))});
}

const Written& Scribe::claim() {
  return write({ControllerStarted{.controller = make_id<ControllerId>(++claims_, 0xc0), .host = "host-1"}});
}

Decision by_controller(std::vector<Event> events) {
  return {.cause = Cause::controller, .events = std::move(events)};
}
Decision by_timer(std::vector<Event> events) { return {.cause = Cause::timer, .events = std::move(events)}; }

Decision by_report(NodeId node, std::uint64_t number, std::vector<Event> events) {
  return {.cause = Cause::report,
          .position = {Topic::reports, 0, static_cast<std::int64_t>(number)},
          .node = node,
          .report = number,
          .events = std::move(events)};
}

Decision by_intent(std::uint64_t n, Intent intent, std::vector<Event> events) {
  return {.cause = Cause::intent,
          .position = {Topic::intents, 0, static_cast<std::int64_t>(n)},
          .intent = encode(intent),
          .events = std::move(events)};
}

Intent intent_of(std::uint64_t n, std::int64_t expires_ms, AnyId object) {
  Intent intent;
  intent.id = make_id<IntentId>(n, 0x1e);
  intent.request_id = fmt::format("req-{}", n);
  intent.user = make_id<UserId>(1, 0x05);
  intent.project = make_id<ProjectId>(1, 0x04);
  if (n % 3 == 0) intent.key = fmt::format("key-{}", n);
  intent.sent_ms = expires_ms - 30'000;
  intent.expires_ms = expires_ms;
  intent.client = "192.0.2.1";
  intent.object = object;
  intent.set(AskTime{.asked_ms = intent.sent_ms});
  return intent;
}

std::string image_of(const State& state) {
  std::string image;
  const auto hex = [&](std::string_view bytes) {
    for (const char c : bytes) image += fmt::format("{:02x}", static_cast<std::uint8_t>(c));
    image += ' ';
  };
  const auto dump = [&](const auto& table) {
    using Row = std::decay_t<decltype(*table.find({}))>;
    image += fmt::format("{} {}\n", Row::table_name, table.size());
    table.each([&](const Row& row) {
      hex(encode_key(row.key())), hex(encode_row(row));
      image += '\n';
    });
    if constexpr (HasIndexes<Row>) {
      for (std::uint8_t index = 0; index < indexes_max; ++index)
        table.each_entry(index, [&](std::string_view entry, const Row&) {
          image += fmt::format("  {} ", index);
          hex(entry);
          image += '\n';
          return true;
        });
    }
  };
#define TABLE(Row, member) dump(state.member);
#include "projections/tables.def"
#undef TABLE
  image += state.digest().hex();
  return image;
}

std::string pack_log(const std::vector<Written>& records) {
  std::string file;
  for (const auto& written : records) {
    const auto size = static_cast<std::uint32_t>(written.bytes.size());
    for (int shift = 0; shift < 32; shift += 8) file.push_back(static_cast<char>(size >> shift));
    file += written.bytes;
  }
  return file;
}

std::vector<Bytes> unpack_log(std::string_view file) {
  std::vector<Bytes> entries;
  while (!file.empty()) {
    CHECK(file.size() >= 4);
    std::uint32_t size = 0;
    for (int i = 0; i < 4; ++i)
      size |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(file[static_cast<std::size_t>(i)]))
              << (8 * i);
    CHECK(file.size() - 4 >= size);
    entries.emplace_back(file.substr(4, size));
    file.remove_prefix(4 + size);
  }
  return entries;
}

}  // namespace reprise::testing
