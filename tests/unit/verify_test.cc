// verify: a good log is proved; whichever byte of whichever record is another, the seq is named.
#include "controlplane/cli/verify.h"

#include <filesystem>
#include <fstream>
#include <future>

#include "controlplane/cli/genesis.h"
#include "events/embedded_log.h"
#include "projections/fold.h"
#include "tests/unit/temporary_folder.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::cli;

namespace {

class ListReader final : public Reader {
 public:
  ListReader(const std::vector<Entry>& entries, std::int64_t offset) : entries_(entries), at_(offset) {}
  Result<std::vector<Entry>> poll(std::size_t) override {
    std::vector<Entry> some;
    if (at_ < static_cast<std::int64_t>(entries_.size()))
      some.push_back(entries_[static_cast<std::size_t>(at_++)]);
    return some;
  }
  std::int64_t position() const override { return at_; }

 private:
  const std::vector<Entry>& entries_;
  std::int64_t at_;
};

class ListLog final : public Log {
 public:
  explicit ListLog(std::vector<Entry> entries) : entries_(std::move(entries)) {}
  Result<std::unique_ptr<Producer>> open_producer() override { return Error{Errc::unsupported, "read only"}; }
  Result<std::unique_ptr<Reader>> open_reader(Topic, std::int64_t offset, std::function<void()>) override {
    return std::unique_ptr<Reader>(std::make_unique<ListReader>(entries_, offset));
  }
  void end(Topic, Answer answer) override { answer(static_cast<std::int64_t>(entries_.size())); }
  Result<std::int64_t> begin(Topic) override { return 0; }
  std::unique_ptr<Candidacy> stand(std::function<void()>) override { return nullptr; }
  std::string place() const override { return "list"; }

 private:
  std::vector<Entry> entries_;
};

struct Chain {
  std::vector<Entry> entries;
  std::vector<Hash> hashes;
  State state;
  Record last;

  void add(Record record) {
    fold(state, record);
    record.digest = state.digest();
    const auto sealed = encode(record);
    entries.push_back({static_cast<std::int64_t>(entries.size()), sealed.bytes});
    hashes.push_back(sealed.hash);
    last = record;
  }
  void add(Event event, ControllerId controller) {
    Decision decision;
    decision.events.push_back(std::move(event));
    Record record{.log = last.log,
                  .level = level::newest,
                  .seq = last.seq + 1,
                  .prev = hashes.back(),
                  .at_ms = last.at_ms + 5,
                  .controller = controller};
    record.decisions.push_back(std::move(decision));
    add(std::move(record));
  }
};

Chain some_chain() {
  Chain chain;
  chain.add(genesis_record({.cloud = {1, 2},
                            .log = {3, 4},
                            .project = {5, 6},
                            .user = {7, 8},
                            .admin = {9, 1},
                            .member = {9, 2},
                            .reader = {9, 3},
                            .node = {9, 4},
                            .name = "n",
                            .place = "p",
                            .password = "x",
                            .password_hash = "h",
                            .at_ms = 1000}));
  const ControllerId controller{8, 8};
  chain.add(ControllerStarted{.controller = controller, .host = "h"}, controller);
  chain.add(ProjectCreated{.id = {5, 7}, .name = "second", .enabled = true}, controller);
  chain.add(TimePassed{.asked_ms = 3}, controller);
  return chain;
}

Verified verify(std::vector<Entry> entries, const std::vector<KnownHead>& known = {}) {
  ListLog log(std::move(entries));
  auto verified = verify_log(log, known);
  REQUIRE(verified);
  return *verified;
}

}  // namespace

TEST_CASE("a good log is proved to its head and digest") {
  const auto chain = some_chain();
  const auto v = verify(chain.entries);
  CHECK(v.broken == "");
  CHECK(v.head.seq == 4);
  CHECK(v.head.hash == chain.hashes.back());
  CHECK(v.digest == chain.state.digest());
}

TEST_CASE("whichever byte of whichever record is another: its seq is named") {
  const auto chain = some_chain();
  for (std::size_t i = 0; i < chain.entries.size(); ++i) {
    for (std::size_t at = 0; at < chain.entries[i].bytes.size(); ++at) {
      auto entries = chain.entries;
      entries[i].bytes[at] = static_cast<char>(entries[i].bytes[at] ^ 0x20);
      const auto v = verify(std::move(entries));
      if (v.broken.empty() || v.broken_after != i || v.broken_offset != static_cast<std::int64_t>(i))
        FAIL("byte " << at << " of record " << i + 1 << ": " << v.broken);
    }
  }
}

TEST_CASE("a record that is missing, doubled or cut off") {
  const auto chain = some_chain();
  auto missing = chain.entries;
  missing.erase(missing.begin() + 2);
  missing.back().offset = 2;
  CHECK(verify(missing).broken_after == 2);
  auto doubled = chain.entries;
  doubled.insert(doubled.begin() + 3, doubled[2]);
  for (std::size_t i = 0; i < doubled.size(); ++i) doubled[i].offset = static_cast<std::int64_t>(i);
  const auto v = verify(doubled);
  CHECK(v.broken == "");  // it lost a race against itself: void, for every reader
  CHECK(v.voids == 1);
  auto half = chain.entries;
  half.back().bytes.resize(half.back().bytes.size() / 2);
  CHECK(verify(half).broken_after == 3);
}

TEST_CASE("a record that lies about the state is found by its digest") {
  auto chain = some_chain();
  Record record = chain.last;
  record.seq = 5, record.prev = chain.hashes.back();
  record.digest.bytes[3] ^= 1;
  const auto sealed = encode(record);
  chain.entries.push_back({4, sealed.bytes});
  const auto v = verify(chain.entries);
  CHECK(v.broken_after == 4);
  CHECK(v.broken.find("digest") != std::string::npos);
}

TEST_CASE("a head known elsewhere must be in the log") {
  const auto chain = some_chain();
  CHECK(verify(chain.entries, {{2, chain.hashes[1], "--head"}}).broken == "");
  CHECK(verify(chain.entries, {{2, chain.hashes[2], "--head"}}).broken_after == 2);
  CHECK(verify(chain.entries, {{9, chain.hashes[2], "--head"}}).broken.find("its end was cut off") !=
        std::string::npos);
  CHECK(parse_head("3:" + chain.hashes[0].hex()));
  for (const char* bad : {"", ":", "3", "3:", "0:", "x:y", "3:12", "-1:00"}) CHECK_FALSE(parse_head(bad));
  CHECK_FALSE(parse_head("0:" + chain.hashes[0].hex()));
}

namespace {

void write_log(const std::string& dir, const std::vector<Entry>& entries) {
  auto log = open_embedded_log(dir);
  REQUIRE(log);
  auto producer = (*log)->open_producer();
  REQUIRE(producer);
  for (const auto& entry : entries) {
    std::promise<bool> written;
    (*producer)->append(Topic::events, entry.bytes, [&](Result<std::int64_t> at) { written.set_value(at.ok()); });
    REQUIRE(written.get_future().get());
  }
}

void flip(const std::filesystem::path& path, std::size_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(file.get() ^ 0x04);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

enum class Seen { damage, nothing_missing, nothing };

Seen look_at(const std::string& dir, const Hash& head) {
  auto log = open_embedded_log_read_only(dir);
  if (!log) return Seen::damage;
  const auto verified = verify_log(**log, {});
  if (!verified || !verified->broken.empty()) return Seen::damage;
  return verified->head.hash == head ? Seen::nothing_missing : Seen::nothing;
}

}  // namespace

TEST_CASE("whichever byte of a log's files is another: it is seen, or it was none of a record's") {
  const auto chain = some_chain();
  reprise::testing::TemporaryFolder folder;
  const auto dir = folder.path("log");
  write_log(dir, {chain.entries.begin(), chain.entries.begin() + 2});
  write_log(dir, {chain.entries.begin() + 2, chain.entries.end()});  // opening it made a file of the first two
  std::size_t in_records = 0;
  for (const auto& file : std::filesystem::directory_iterator(dir)) {
    const auto kind = file.path().extension();
    if (kind != ".sst" && kind != ".log") continue;
    std::ifstream stream(file.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    std::vector<bool> of_record(text.size());
    for (const auto& entry : chain.entries)
      if (const auto at = text.find(entry.bytes); at != text.npos)
        std::fill_n(of_record.begin() + static_cast<std::ptrdiff_t>(at), entry.bytes.size(), true);
    for (std::size_t at = 0; at < text.size(); at += 5) {
      flip(file.path(), at);
      const auto seen = look_at(dir, chain.hashes.back());
      flip(file.path(), at);
      in_records += of_record[at];
      if (seen == Seen::nothing || (of_record[at] && seen != Seen::damage))
        FAIL(file.path().filename() << ": byte " << at << " is another, and nothing was said");
    }
  }
  CHECK(in_records > 100);
}
