#include "tests/contract/log_contract.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <thread>

#include "events/log_topics.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::contract {
namespace {

Bytes text_of(int producer, int number) { return fmt::format("{} {}", producer, number); }

std::unique_ptr<Producer> open_producer(Log& log) {
  auto producer = log.open_producer();
  INFO((producer ? "" : producer.error().text));
  REQUIRE(producer.ok());
  return *std::move(producer);
}

bool offsets_grow(const std::vector<Entry>& entries) {
  return std::is_sorted(entries.begin(), entries.end(),
                        [](const Entry& a, const Entry& b) { return a.offset <= b.offset; });
}

// The entries of one producer are a prefix of what it sent: none missing, none twice, none out of order.
void require_prefix(const std::vector<Entry>& entries, int producer, int sent) {
  int next = 0;
  for (const auto& entry : entries) {
    if (entry.bytes.starts_with(fmt::format("{} ", producer)))
      REQUIRE(entry.bytes == text_of(producer, next++));
  }
  REQUIRE(next <= sent);
}

void append_many(Producer& producer, Answers& answers, Topic topic, int producer_number, int from, int to) {
  for (int i = from; i < to; ++i) producer.append(topic, text_of(producer_number, i), answers.next());
}

}  // namespace

void check_appends_and_reads(const FreshRig& fresh) {
  const auto rig = fresh();
  const auto log = rig->connect();
  Answers answers(*rig);

  SECTION("a new log is empty, and says so") {
    for (const Topic topic : all_topics) {
      const auto end = ask_end(*rig, *log, topic);
      REQUIRE(*log->begin(topic) == end);
      Follower follower(*rig, *log, topic);
      REQUIRE(follower.read().empty());
      REQUIRE(follower.error().code == Errc::ok);
    }
  }
  SECTION("what is appended is read again, byte for byte, at the offset that was answered") {
    const auto producer = open_producer(*log);
    Bytes every_byte;
    for (int i = 0; i < 256; ++i) every_byte.push_back(static_cast<char>(i));
    const std::vector<Bytes> sent = {"first", "", every_byte, Bytes(100'000, 'x')};
    std::vector<std::int64_t> offsets;
    for (const auto& bytes : sent) offsets.push_back(append_one(*rig, *producer, Topic::events, bytes));
    Follower follower(*rig, *log, Topic::events);
    REQUIRE(rig->await([&] { return follower.read().size() == sent.size(); }));
    for (std::size_t i = 0; i < sent.size(); ++i) {
      REQUIRE(follower.read()[i].offset == offsets[i]);
      REQUIRE(follower.read()[i].bytes == sent[i]);
    }
    REQUIRE(follower.position() == offsets.back() + 1);
  }
  SECTION("topics are apart") {
    const auto producer = open_producer(*log);
    for (const Topic topic : all_topics) append_one(*rig, *producer, topic, topic_name(topic));
    for (const Topic topic : all_topics) {
      Follower follower(*rig, *log, topic);
      REQUIRE(rig->await([&] { return !follower.read().empty(); }));
      REQUIRE(follower.read().size() == 1);
      REQUIRE(follower.read()[0].bytes == topic_name(topic));
    }
  }
  SECTION("every reader sees the same entries at the same offsets, wherever it begins") {
    const auto producer = open_producer(*log);
    append_many(*producer, answers, Topic::intents, 1, 0, 300);
    REQUIRE(rig->await([&] { return answers.all(); }));
    REQUIRE(answers.first_error() == "");
    REQUIRE(answers.count_ok() == 300);
    const auto other = rig->connect();
    Follower all(*rig, *log, Topic::intents), one_by_one(*rig, *other, Topic::intents, 0, 1);
    Follower late(*rig, *other, Topic::intents, *answers[200]);
    REQUIRE(rig->await([&] {
      return all.read().size() == 300 && one_by_one.read().size() == 300 && late.read().size() == 100;
    }));
    for (std::size_t i = 0; i < 300; ++i) {
      REQUIRE(all.read()[i].offset == *answers[i]);
      REQUIRE(all.read()[i].bytes == text_of(1, static_cast<int>(i)));
      REQUIRE(one_by_one.read()[i].offset == all.read()[i].offset);
      REQUIRE(one_by_one.read()[i].bytes == all.read()[i].bytes);
      if (i >= 200) REQUIRE(late.read()[i - 200].bytes == all.read()[i].bytes);
    }
    REQUIRE(offsets_grow(all.read()));
  }
  SECTION("many producers at once: each in its order, nothing lost, nothing twice") {
    constexpr int producers = 8, each = 100;
    std::vector<std::unique_ptr<Producer>> open;
    for (int p = 0; p < producers; ++p) open.push_back(open_producer(*log));
    if (rig->threads()) {
      std::vector<std::thread> threads;
      for (int p = 0; p < producers; ++p) {
        threads.emplace_back(
            [&, p] { append_many(*open[static_cast<std::size_t>(p)], answers, Topic::intents, p, 0, each); });
      }
      for (auto& thread : threads) thread.join();
    } else {
      for (int i = 0; i < each; ++i) {
        for (int p = 0; p < producers; ++p)
          append_many(*open[static_cast<std::size_t>(p)], answers, Topic::intents, p, i, i + 1);
      }
    }
    REQUIRE(rig->await([&] { return answers.all(); }));
    REQUIRE(answers.first_error() == "");
    REQUIRE(answers.count_ok() == producers * each);
    Follower follower(*rig, *log, Topic::intents);
    REQUIRE(rig->await([&] { return follower.read().size() >= producers * each; }));
    REQUIRE(follower.read().size() == producers * each);
    std::set<std::int64_t> answered;
    for (std::size_t i = 0; i < answers.asked(); ++i) answered.insert(*answers[i]);
    REQUIRE(answered.size() == producers * each);
    for (const auto& entry : follower.read()) REQUIRE(answered.contains(entry.offset));
    for (int p = 0; p < producers; ++p) require_prefix(follower.read(), p, each);
  }
}

void check_ends_and_limits(const FreshRig& fresh) {
  const auto rig = fresh();
  const auto log = rig->connect();
  Answers answers(*rig);

  SECTION("the end is never before an entry that was answered, and nothing more is read up to it") {
    const auto producer = open_producer(*log);
    const auto other = rig->connect();
    for (int i = 0; i < 20; ++i) {
      const auto offset = append_one(*rig, *producer, Topic::events, text_of(1, i));
      const auto end = ask_end(*rig, i % 2 ? *log : *other, Topic::events);
      REQUIRE(end > offset);
    }
    Follower follower(*rig, *log, Topic::events);
    const auto end = ask_end(*rig, *log, Topic::events);
    REQUIRE(rig->await([&] { return follower.read(), follower.position() >= end; }));
    REQUIRE(follower.read().size() == 20);
    REQUIRE(follower.position() == end);
  }
  SECTION("many ask for the end at once: each answer is right and comes once") {
    const auto producer = open_producer(*log);
    const auto offset = append_one(*rig, *producer, Topic::intents, "x");
    Answers ends(*rig);
    for (int i = 0; i < 50; ++i) log->end(Topic::intents, ends.next());
    REQUIRE(rig->await([&] { return ends.all(); }));
    REQUIRE(!ends.doubled());
    for (std::size_t i = 0; i < 50; ++i) REQUIRE(*ends[i] == offset + 1);
  }
  SECTION("an entry that is too large is refused, alone") {
    const auto producer = open_producer(*log);
    for (const Topic topic : all_topics) {
      const auto limit = topic_rules(topic).entry_bytes_max;
      Answers three(*rig);
      producer->append(topic, Bytes(limit, 'a'), three.next());
      producer->append(topic, Bytes(limit + 1, 'b'), three.next());
      producer->append(topic, "c", three.next());
      REQUIRE(rig->await([&] { return three.all(); }));
      REQUIRE(three[0].ok());
      REQUIRE(three[1].error().code == Errc::invalid);
      REQUIRE(three[1].error().text.find(std::to_string(limit)) != std::string::npos);
      REQUIRE(three[2].ok());
      Follower follower(*rig, *log, topic);
      REQUIRE(rig->await([&] { return follower.read().size() >= 2; }));
      REQUIRE(follower.read().size() == 2);
      REQUIRE(follower.read()[0].bytes.size() == limit);
      REQUIRE(follower.read()[1].bytes == "c");
    }
  }
  SECTION("a position that is not there is not_found") {
    const auto producer = open_producer(*log);
    append_one(*rig, *producer, Topic::events, "x");
    const auto end = ask_end(*rig, *log, Topic::events);
    Follower beyond(*rig, *log, Topic::events, end + 10);
    REQUIRE(rig->await([&] { return beyond.read(), beyond.error().code != Errc::ok; }));
    REQUIRE(beyond.error().code == Errc::not_found);
    REQUIRE(log->open_reader(Topic::events, -1, [] {}).error().code == Errc::invalid);
  }
}

void check_sessions(const FreshRig& fresh) {
  const auto rig = fresh();
  const auto log = rig->connect();

  SECTION("a producer that goes answers everything once, and leaves a prefix") {
    for (int round = 0; round < 5; ++round) {
      Answers answers(*rig);
      auto producer = open_producer(*log);
      if (round > 0) append_one(*rig, *producer, Topic::intents, text_of(100 + round, 0));
      append_many(*producer, answers, Topic::intents, round, 0, 200);
      if (round % 2) (void)rig->await([&] { return answers.count() > 0; });
      producer.reset();
      REQUIRE(answers.all());  // none comes after the producer is gone
      REQUIRE(!answers.doubled());
      bool ended = false;
      for (std::size_t i = 0; i < 200; ++i) {
        if (!answers[i].ok()) REQUIRE(answers[i].error().code == Errc::timed_out);
        ended = ended || !answers[i].ok();
        REQUIRE(answers[i].ok() == !ended);  // no success after the first that is open
      }
      // Another session's entry, to know that nothing of the first can come any more in front of it.
      const auto last = append_one(*rig, *open_producer(*log), Topic::intents, "end");
      Follower follower(*rig, *log, Topic::intents);
      REQUIRE(rig->await([&] { return follower.read(), follower.position() > last; }));
      require_prefix(follower.read(), round, 200);
      for (std::size_t i = 0; i < answers.count_ok(); ++i) {
        const auto& all = follower.read();
        REQUIRE(std::any_of(all.begin(), all.end(), [&](const Entry& e) {
          return e.offset == *answers[i] && e.bytes == text_of(round, static_cast<int>(i));
        }));
      }
    }
  }
  SECTION("after a failed append nothing later of that producer is written") {
    auto producer = open_producer(*log), bystander = open_producer(*log);
    append_one(*rig, *producer, Topic::intents, text_of(1, 0));
    append_one(*rig, *bystander, Topic::intents, text_of(2, 0));
    rig->break_appends();
    Answers answers(*rig);
    append_many(*producer, answers, Topic::intents, 1, 1, 51);
    REQUIRE(rig->await([&] { return answers.all(); }));
    REQUIRE(answers.count_ok() < 50);
    rig->heal();
    Answers later(*rig);
    append_many(*producer, later, Topic::intents, 1, 51, 60);
    REQUIRE(rig->await([&] { return later.all(); }));
    for (std::size_t i = 0; i < 9; ++i) REQUIRE(later[i].error().code == Errc::session_broken);
    bool failed = false;
    for (std::size_t i = 0; i < 50; ++i) {
      const auto answer = answers[i];
      if (failed) REQUIRE(!answer.ok());
      failed = failed || !answer.ok();
      if (!answer.ok()) INFO(answer.error().text);
      if (!answer.ok()) REQUIRE(!answer.error().text.empty());
    }
    producer.reset();
    bystander.reset();
    std::unique_ptr<Producer> fresh_one;
    REQUIRE(rig->await([&] {
      auto opened = log->open_producer();
      if (opened) fresh_one = *std::move(opened);
      return fresh_one != nullptr;
    }));
    const auto last = append_one(*rig, *fresh_one, Topic::intents, "end");
    Follower follower(*rig, *log, Topic::intents);
    REQUIRE(rig->await([&] { return follower.read(), follower.position() > last; }));
    require_prefix(follower.read(), 1, 51);
    for (std::size_t i = 0; i < 50; ++i) {
      const auto& all = follower.read();
      const auto there = std::count_if(all.begin(), all.end(), [&](const Entry& e) {
        return e.bytes == text_of(1, 1 + static_cast<int>(i));
      });
      if (answers[i].ok()) REQUIRE(there == 1);
      if (!answers[i].ok() && answers[i].error().code == Errc::session_broken) REQUIRE(there == 0);
    }
  }
}

void check_readers(const FreshRig& fresh) {
  const auto rig = fresh();
  const auto log = rig->connect();
  Answers answers(*rig);
  const auto producer = open_producer(*log);

  SECTION("a reader at the end is woken, not polled") {
    Follower follower(*rig, *log, Topic::events);
    REQUIRE(follower.read().empty());
    for (int i = 0; i < 20; ++i) {
      const int before = follower.wakes();
      const auto offset = append_one(*rig, *producer, Topic::events, text_of(1, i));
      REQUIRE(rig->await([&] { return follower.wakes() > before; }));
      REQUIRE(rig->await([&] { return follower.read(), follower.position() > offset; }));
      REQUIRE(follower.read().size() == static_cast<std::size_t>(i) + 1);
    }
  }
  SECTION("a reader that is driven by its wakes alone misses nothing") {
    std::atomic<bool> woken = true;
    auto opened = log->open_reader(Topic::reports, 0, [&] { woken = true, rig->nudge(); });
    REQUIRE(opened.ok());
    const auto reader = *std::move(opened);
    append_many(*producer, answers, Topic::reports, 1, 0, 500);
    std::vector<Entry> entries;
    REQUIRE(rig->await([&] {
      if (!woken.exchange(false)) return false;
      for (auto polled = reader->poll(7);; polled = reader->poll(7)) {
        REQUIRE(polled.ok());
        if (polled->empty()) break;
        for (auto& entry : *polled) entries.push_back(std::move(entry));
      }
      return entries.size() == 500;
    }));
    require_prefix(entries, 1, 500);
  }
  SECTION("a reader that is gone is not called") {
    std::atomic<int> wakes = 0;
    {
      auto reader = log->open_reader(Topic::events, 0, [&] { ++wakes; });
      REQUIRE(reader.ok());
      REQUIRE((*reader)->poll(10)->empty());
    }
    const int before = wakes;
    append_many(*producer, answers, Topic::events, 1, 0, 50);
    REQUIRE(rig->await([&] { return answers.all(); }));
    REQUIRE(wakes == before);
  }
  SECTION("readers come and go while it is written") {
    append_many(*producer, answers, Topic::events, 1, 0, 400);
    for (int i = 0; i < 5; ++i) {
      Follower follower(*rig, *log, Topic::events, 0, 9);
      REQUIRE(rig->await([&] { return follower.read().size() >= static_cast<std::size_t>(i) * 50; }));
      require_prefix(follower.read(), 1, 400);
    }
    REQUIRE(rig->await([&] { return answers.all(); }));
  }
}

void check_keeping(const FreshRig& fresh) {
  const auto rig = fresh();
  auto log = rig->connect();
  Answers answers(*rig);
  auto producer = open_producer(*log);

  SECTION("it is all there after a restart, and offsets go on") {
    std::vector<std::int64_t> ends;
    for (const Topic topic : all_topics) append_many(*producer, answers, topic, 1, 0, 100);
    REQUIRE(rig->await([&] { return answers.all(); }));
    REQUIRE(answers.first_error() == "");
    REQUIRE(answers.count_ok() == 400);
    for (const Topic topic : all_topics) ends.push_back(ask_end(*rig, *log, topic));
    producer.reset();
    log.reset();
    rig->restart();
    log = rig->connect();
    producer = open_producer(*log);
    for (const Topic topic : all_topics) {
      REQUIRE(ask_end(*rig, *log, topic) == ends[index_of(topic)]);
      const auto offset = append_one(*rig, *producer, topic, text_of(1, 100));
      REQUIRE(offset >= ends[index_of(topic)]);
      Follower follower(*rig, *log, topic);
      REQUIRE(rig->await([&] { return follower.read().size() >= 101; }));
      REQUIRE(follower.read().size() == 101);
      require_prefix(follower.read(), 1, 101);
    }
  }
  SECTION("what is past its retention is not_found, and begin says where it goes on") {
    append_many(*producer, answers, Topic::intents, 1, 0, 60);
    REQUIRE(rig->await([&] { return answers.all(); }));
    rig->age(Topic::intents);
    append_many(*producer, answers, Topic::intents, 1, 60, 100);
    REQUIRE(rig->await([&] { return answers.all(); }));
    const auto kept = *answers[60];
    // The embedded log forgets after it has answered: once it answers again, that is done.
    append_one(*rig, *producer, Topic::intents, text_of(1, 100));
    // It may lie in a hole before the first that is kept.
    REQUIRE(rig->await([&] { return *log->begin(Topic::intents) > *answers[59]; }));
    REQUIRE(*log->begin(Topic::intents) <= kept);
    Follower behind(*rig, *log, Topic::intents, *answers[10]);
    REQUIRE(rig->await([&] { return behind.read(), behind.error().code != Errc::ok; }));
    REQUIRE(behind.error().code == Errc::not_found);
    REQUIRE(behind.read().empty());
    Follower first(*rig, *log, Topic::intents);
    REQUIRE(rig->await([&] { return first.read().size() >= 40; }));
    REQUIRE(first.read()[0].offset == kept);
    REQUIRE(first.read()[0].bytes == text_of(1, 60));
    REQUIRE(*log->begin(Topic::events) == 0);
  }
}

void check_candidacies(const FreshRig& fresh) {
  const auto rig = fresh();
  const auto log = rig->connect(), other = rig->connect();

  SECTION("one is elected at a time, and the next one is woken when it goes") {
    std::atomic<int> wakes = 0;
    auto first = log->stand([&] { rig->nudge(); });
    REQUIRE(rig->await([&] { return first->elected(); }));
    const auto second = other->stand([&] { ++wakes, rig->nudge(); });
    REQUIRE(!second->elected());
    REQUIRE(first->elected());
    const int before = wakes;
    first.reset();
    REQUIRE(rig->await([&] { return second->elected(); }));
    REQUIRE(wakes > before);
  }
  SECTION("one that never was elected can go") {
    const auto first = log->stand([&] { rig->nudge(); });
    REQUIRE(rig->await([&] { return first->elected(); }));
    for (int i = 0; i < 8; ++i) {  // each later in its joining than the one before
      const auto going = other->stand([] {});
      for (int asked = 0; asked < 250 * i; ++asked) ask_end(*rig, *other, Topic::events);
      REQUIRE(!going->elected());
    }
    REQUIRE(rig->await([&] { return first->elected(); }));
  }
}

}  // namespace reprise::contract
