#include "controlplane/story/why.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "controlplane/story/cause.h"
#include "controlplane/story/names.h"
#include "controlplane/story/state_words.h"
#include "controlplane/story/weighing.h"

namespace reprise::story {
namespace {

using api::JsonWriter;

constexpr std::size_t related_max = 64;

bool mentions(const std::string& json, AnyId id) { return json.find(id.str()) != std::string::npos; }

// Ports and volumes that were this server's: what their agents reported is part of its story.
void add_related(const Record& record, AnyId object, std::set<AnyId>& related) {
  for (const auto& decision : record.decisions) {
    for (const auto& event : decision.events) {
      AnyId other;
      if (event.is<PortCreated>() && event.as<PortCreated>().server.as<AnyId>() == object)
        other = event.as<PortCreated>().id.as<AnyId>();
      if (event.is<PortBound>() && event.as<PortBound>().server.as<AnyId>() == object)
        other = event.as<PortBound>().id.as<AnyId>();
      if (event.is<VolumeAttaching>() && event.as<VolumeAttaching>().server.as<AnyId>() == object)
        other = event.as<VolumeAttaching>().id.as<AnyId>();
      if (other && related.size() < related_max) related.insert(other);
    }
  }
}

class Teller {
 public:
  Teller(const View& now, const Source& source, AnyId object) : now_(now), source_(source), object_(object) {}

  Result<std::string> tell() {
    std::vector<Seq> own = now_.seqs_of(object_);
    if (own.empty())
      return {Errc::not_found,
              fmt::format("nothing in the log, up to seq {}, names {}", now_.seq(), object_.str())};
    for (const Seq seq : own) {
      auto record = read(seq);
      if (!record) return record.error();
      add_related(*record, object_, related_);
    }
    std::set<Seq> seqs(own.begin(), own.end());
    for (const AnyId other : related_)
      for (const Seq seq : now_.seqs_of(other))
        if (seq >= own.front()) seqs.insert(seq);
    left_out_ = seqs.size() > steps_max ? seqs.size() - steps_max : 0;
    auto first = seqs.begin();
    std::advance(first, static_cast<std::ptrdiff_t>(left_out_));
    begin();
    for (; first != seqs.end(); ++first)
      if (auto told = tell_record(*first); !told) return told.error();
    json_.end_array().end_object();
    return std::move(out_);
  }

 private:
  Result<Record> read(Seq seq) {
    auto records = source_.read_records(seq, 1);
    if (!records) return records.error();
    if (records->empty()) return {Errc::not_found, fmt::format("the record of seq {} cannot be read", seq)};
    return decode_record(records->front().bytes);
  }

  void begin() {
    json_.begin_object();
    json_.field("id", object_.str());
    json_.field("seq", now_.seq());
    json_.field("kind", kind_of(now_, object_));
    json_.field("name", name_of(now_, object_));
    json_.field("now", state_words(now_, object_));
    json_.field("left_out", left_out_);
    json_.array("steps");
  }

  Status tell_record(Seq seq) {
    auto record = read(seq);
    if (!record) return record.error();
    for (std::uint32_t i = 0; i < record->decisions.size(); ++i)
      if (auto told = tell_decision(*record, i); !told) return told;
    return {};
  }

  // The events of a decision that are about the object, or about what is its own; all, when its intent is
  // about it.
  std::vector<const Event*> relevant(const Decision& decision, const Intent* intent) const {
    const bool asked = intent && (intent->object == object_ || subject(*intent) == object_ ||
                                  mentions(intent_json(*intent), object_));
    std::vector<const Event*> events;
    for (const auto& event : decision.events)
      if (asked || related_.contains(subject(event)) || mentions(event_json(event), object_))
        events.push_back(&event);
    return events;
  }

  Status tell_decision(const Record& record, std::uint32_t index) {
    const Decision& decision = record.decisions[index];
    const auto intent = intent_of(decision);
    const auto events = relevant(decision, intent ? &*intent : nullptr);
    if (events.empty()) return {};
    // Names as they were then; where the history was cut, as they were at the cut.
    auto then = source_.view_at(std::max(record.seq, std::min(now_.history_from(), now_.seq())));
    if (!then) return then.error();
    json_.begin_object();
    write_cause(json_, *then, record, decision, intent ? &*intent : nullptr);
    write_events(json_, *then, events);
    if (auto weighed = tell_weighing(record, index, intent ? &*intent : nullptr); !weighed) return weighed;
    json_.end_object();
    return {};
  }

  Status tell_weighing(const Record& record, std::uint32_t index, const Intent* intent) {
    const Decision& decision = record.decisions[index];
    if (!placed_something(decision, object_) || weighings_ >= weighings_max) return {};
    if (record.seq <= now_.history_from()) return {};  // the state that it saw is not there, or was cut
    ++weighings_;
    auto before = source_.view_at(record.seq - 1);
    if (!before) return before.error();
    auto state = state_before(*before, record, index);
    if (!state) return state.error();
    const auto weighing = weigh_again(*state, decision, intent, object_);
    if (!weighing) return {};
    const auto& asked = weighing->request;
    json_.object("weighed");
    json_.field("vcpus", asked.vcpus).field("ram_mib", asked.ram_mib).field("disk_gib", asked.disk_gib);
    json_.field("zone", asked.zone).field("host", asked.host).field("considered", weighing->nodes.size());
    json_.array("nodes");
    for (std::size_t i = 0; i < weighing->nodes.size() && i < weighed_nodes_max; ++i) {
      const auto& [weighed, name] = weighing->nodes[i];
      json_.begin_object().field("id", weighed.node.str()).field("name", name);
      json_.field("verdict", placement_reason_text(weighed.reason))
          .field("fits", weighed.reason == PlacementReason::fits);
      json_.field("weight", weighed.weight).field("chosen", weighed.node == weighing->chosen).end_object();
    }
    json_.end_array().end_object();
    return {};
  }

  const View& now_;
  const Source& source_;
  const AnyId object_;
  std::set<AnyId> related_;
  std::size_t left_out_ = 0;
  std::size_t weighings_ = 0;
  std::string out_;
  JsonWriter json_{out_};
};

}  // namespace

Result<std::string> why_json(const View& now, const Source& source, std::string_view word, std::string_view kind) {
  const auto object = object_of(now, word, kind);
  if (!object) return object.error();
  return Teller(now, source, *object).tell();
}

}  // namespace reprise::story
