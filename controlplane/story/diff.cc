#include "controlplane/story/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "controlplane/api/hosts.h"
#include "controlplane/api/timestamp.h"
#include "controlplane/story/object_facts.h"
#include "events/print.h"

namespace reprise::story {
namespace {

using api::JsonWriter;

constexpr std::size_t records_kept_max = 64;

bool same_fields(const ObjectFacts& a, const ObjectFacts& b, const Eyes& eyes) {
  return std::equal(a.fields.begin(), a.fields.end(), b.fields.begin(), b.fields.end(),
                    [&](const ObjectField& x, const ObjectField& y) {
                      return x.name == y.name && (x.json == y.json || (x.admin && !eyes.admin));
                    });
}

// Nothing to say: "", [], {}.
bool is_blank(const std::string& json) { return json == "\"\"" || json == "[]" || json == "{}"; }

class Differ {
 public:
  Differ(const View& from, const View& to, const Source& source, const Eyes& eyes)
      : from_(from), to_(to), source_(source), eyes_(eyes) {}

  Result<std::string> tell() {
    json_.begin_object();
    write_moment("from", from_), write_moment("to", to_);
    json_.array("objects");
    each_kind([&]<class Row>(const Row*) {
      if (status_)
        View::each_changed<Row>(from_, to_,
                                [&](const Row* before, const Row* after) { tell_row(before, after); });
    });
    json_.end_array().field("objects_in_all", all_).end_object();
    if (!status_) return status_.error();
    for (const View* view : {&from_, &to_})
      if (!view->status()) return view->status().error();
    return eyes_.admin ? std::move(out_) : api::without_hosts(to_, std::move(out_));
  }

 private:
  void write_moment(std::string_view name, const View& view) {
    json_.object(name).field("seq", view.seq());
    json_.field("at", api::time_micros_z(static_cast<std::uint64_t>(view.at_ms()))).end_object();
  }

  template <class Row>
  void tell_row(const Row* before, const Row* after) {
    const auto was = before ? std::optional(facts_of(from_, *before)) : std::nullopt;
    const auto is = after ? std::optional(facts_of(to_, *after)) : std::nullopt;
    const ObjectFacts& one = is ? *is : *was;
    if (!status_ || !one.seen_by(eyes_) || (was && is && same_fields(*was, *is, eyes_))) return;
    if (++all_ > diff_objects_max) return;
    json_.begin_object().field("change", !was ? "made" : !is ? "deleted" : "changed");
    json_.field("kind", one.kind).field("id", one.id).field("name", one.name);
    json_.field("project", one.project ? one.project.hex() : "");
    write_fields(was, is);
    json_.array("by");
    const std::size_t left_out = tell_steps<Row>((before ? before : after)->key(), one, was);
    json_.end_array().field("by_left_out", left_out).end_object();
  }

  void write_fields(const std::optional<ObjectFacts>& was, const std::optional<ObjectFacts>& is) {
    const std::size_t count = (is ? *is : *was).fields.size();
    json_.array("fields");
    for (std::size_t i = 0; i < count; ++i) {
      const ObjectField* a = was ? &was->fields[i] : nullptr;
      const ObjectField* b = is ? &is->fields[i] : nullptr;
      const ObjectField& one = b ? *b : *a;
      if ((one.admin && !eyes_.admin) || (a && b ? a->json == b->json : is_blank(one.json))) continue;
      json_.begin_object().field("name", one.name);
      if (one.secret) json_.field("secret", true);
      else if (a) json_.key("from").raw(a->json);
      if (b && !one.secret) json_.key("to").raw(b->json);
      json_.end_object();
    }
    json_.end_array();
  }

  // The records that made it differ, in order; how many that touched it were not looked at.
  template <class Row>
  std::size_t tell_steps(const typename Row::Key& key, const ObjectFacts& object,
                         std::optional<ObjectFacts> was) {
    auto seqs = seqs_about(object);
    const std::size_t left_out = seqs.size() > diff_steps_max ? seqs.size() - diff_steps_max : 0;
    seqs.erase(seqs.begin(), seqs.begin() + static_cast<std::ptrdiff_t>(left_out));
    if (left_out) was = facts_at<Row>(key, seqs.front() - 1);
    for (const Seq seq : seqs) {
      auto is = facts_at<Row>(key, seq);
      if (!status_) return left_out;
      if (was.has_value() != is.has_value() || (was && !same_fields(*was, *is, eyes_)))
        tell_record(seq, object);
      was = std::move(is);
    }
    return left_out;
  }

  std::vector<Seq> seqs_about(const ObjectFacts& object) const {
    if (object.trail) return to_.seqs_of(object.trail, from_.seq() + 1);
    std::vector<Seq> all;  // it is filed under nothing: any record may be about it
    for (Seq seq = from_.seq() + 1; seq <= to_.seq(); ++seq) all.push_back(seq);
    return all;
  }

  template <class Row>
  std::optional<ObjectFacts> facts_at(const typename Row::Key& key, Seq seq) {
    const auto then = source_.view_at(seq);
    if (!then) return fail(then.error()), std::nullopt;
    const auto row = then->template find<Row>(key);
    if (!then->status()) return fail(then->status().error()), std::nullopt;
    return row ? std::optional(facts_of(*then, *row)) : std::nullopt;
  }

  void tell_record(Seq seq, const ObjectFacts& object) {
    const Record* record = record_of(seq);
    if (!record) return;
    const auto then = source_.view_at(seq);
    if (!then) return fail(then.error());
    // What deletes a project takes its role assignments along, and names only the project.
    if (tell_decisions(*then, *record, object, true) || tell_decisions(*then, *record, object, false)) return;
    json_.begin_object()
        .field("seq", seq)
        .field("at", api::time_micros_z(static_cast<std::uint64_t>(record->at_ms)));
    json_.array("events").end_array().end_object();
  }

  // Those with events that mention all marks of the object, or any. False: there is none.
  bool tell_decisions(const View& then, const Record& record, const ObjectFacts& object, bool all) {
    bool any = false;
    for (const auto& decision : record.decisions) {
      std::vector<const Event*> events;
      for (const auto& event : decision.events) {
        const std::string text = event_json(event);
        const auto has = [&](const std::string& mark) { return text.find(mark) != text.npos; };
        if (all ? std::all_of(object.marks.begin(), object.marks.end(), has)
                : std::any_of(object.marks.begin(), object.marks.end(), has))
          events.push_back(&event);
      }
      if (events.empty()) continue;
      any = true;
      const auto intent = intent_of(decision);
      json_.begin_object();
      write_cause(json_, then, record, decision, intent ? &*intent : nullptr, eyes_);
      write_events(json_, then, events, eyes_);
      json_.end_object();
    }
    return any;
  }

  // Neighbours were often changed by the same record.
  const Record* record_of(Seq seq) {
    if (const auto known = records_.find(seq); known != records_.end()) return &known->second;
    auto stored = source_.read_records(seq, 1);
    if (stored && stored->empty())
      stored = Error{Errc::not_found, fmt::format("the record of seq {} cannot be read", seq)};
    if (!stored) return fail(stored.error()), nullptr;
    auto record = decode_record(stored->front().bytes);
    if (!record) return fail(record.error()), nullptr;
    if (records_.size() >= records_kept_max) records_.clear();
    return &records_.emplace(seq, std::move(*record)).first->second;
  }

  void fail(const Error& error) {
    if (status_) status_ = error;
  }

  const View& from_;
  const View& to_;
  const Source& source_;
  const Eyes& eyes_;
  std::map<Seq, Record> records_;
  std::size_t all_ = 0;
  Status status_;
  std::string out_;
  JsonWriter json_{out_};
};

}  // namespace

Result<std::string> diff_json(const View& from, const View& to, const Source& source, const Eyes& eyes) {
  if (from.seq() > to.seq())
    return {Errc::invalid,
            fmt::format("seq {} is later than seq {}: give the earlier moment first", from.seq(), to.seq())};
  return Differ(from, to, source, eyes).tell();
}

}  // namespace reprise::story
