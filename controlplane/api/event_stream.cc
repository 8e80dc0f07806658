#include "controlplane/api/event_stream.h"

#include <fmt/format.h>

#include <charconv>
#include <mutex>
#include <unordered_map>

#include "controlplane/api/hosts.h"
#include "events/print.h"

namespace reprise::api {
namespace {

constexpr std::size_t records_per_read = 64;
constexpr std::size_t bytes_per_piece = 256 * 1024;
constexpr std::size_t reads_per_turn = 16;  // then others have the worker, even if there was nothing to show

const char* cause_word(Cause cause) {
  switch (cause) {
    case Cause::controller:
      return "controller";
    case Cause::intent:
      return "intent";
    case Cause::report:
      return "report";
    case Cause::timer:
      return "timer";
  }
  return "?";
}

template <class Row, class Key>
ProjectId project_of(const View& view, const Key& id) {
  const auto row = view.find<Row>(id);
  return row ? row->project : ProjectId{};
}

// Whose an object is, at that view; none: nobody's, or not there.
ProjectId owner_at(const View& view, AnyId object) {
  ProjectId owner = project_of<Server>(view, object.as<ServerId>());
  if (!owner) owner = project_of<Volume>(view, object.as<VolumeId>());
  if (!owner) owner = project_of<Port>(view, object.as<PortId>());
  if (!owner) owner = project_of<Network>(view, object.as<NetworkId>());
  if (!owner) owner = project_of<Subnet>(view, object.as<SubnetId>());
  if (!owner) owner = project_of<Image>(view, object.as<ImageId>());
  return owner;
}

class EventStream final : public LineSource, public std::enable_shared_from_this<EventStream> {
 public:
  EventStream(Api& api, Actor actor, std::string token, Born from, Seq until)
      : api_(api), actor_(std::move(actor)), token_(std::move(token)), at_(from), until_(until) {}
  ~EventStream() override { leave(); }

  void begin() {
    if (until_ != 0) return;
    watch_ = api_.backend().watch([weak = weak_from_this()](const Folded& folded) {
      if (const auto self = weak.lock()) self->folded(folded.head.seq);
    });
  }

  void next(Then then) override {
    {
      std::lock_guard lock(mutex_);
      then_ = std::move(then);
    }
    read_if_any();
  }
  void gone() override {
    {
      std::lock_guard lock(mutex_);
      gone_ = true;
      then_ = nullptr;
    }
    leave();
  }

 private:
  void leave() {
    if (watch_ != 0) api_.backend().unwatch(std::exchange(watch_, 0));
  }
  void folded(Seq seq) {
    {
      std::lock_guard lock(mutex_);
      newest_ = std::max(newest_, seq);
    }
    read_if_any();
  }

  // With somebody asking and something to read, a worker reads it: one at a time.
  void read_if_any() {
    {
      std::lock_guard lock(mutex_);
      if (!then_ || reading_ || gone_) return;
      newest_ = std::max(newest_, api_.backend().view().seq());
      const bool end = until_ != 0 && at_.seq > until_;
      if (!end && at_.seq > newest_) return;
      reading_ = true;
    }
    if (!api_.workers().post_slow(actor_.project.str(), [self = shared_from_this()] { self->read(); })) give({}, true);
  }

  void read() {
    const View now = api_.backend().view();
    const auto actor = actor_of(api_.keyring(), api_.standings(), now, token_, api_.backend().now_ms());
    if (!actor || !actor->rights.reader) return give({}, true);
    actor_.rights = actor->rights;
    const Seq last = until_ != 0 ? until_ : now.seq();
    std::string lines;
    for (std::size_t i = 0; i < reads_per_turn && lines.size() < bytes_per_piece && at_.seq <= last; ++i) {
      const auto records =
          api_.backend().read_records(at_.seq, std::min<Seq>(records_per_read, last - at_.seq + 1));
      if (!records || records->empty()) return give(std::move(lines), true);
      for (const auto& stored : *records) {
        const auto record = decode_record(stored.bytes);
        if (!record) return give(std::move(lines), true);
        write_record(lines, *record);
        at_ = {stored.seq + 1, 0};
        if (lines.size() >= bytes_per_piece) break;
      }
    }
    if (lines.empty() &&
        !(until_ != 0 && at_.seq > until_)) {  // nothing that the caller may see: wait for more
      {
        std::lock_guard lock(mutex_);
        reading_ = false;
      }
      return read_if_any();
    }
    give(std::move(lines), until_ != 0 && at_.seq > until_);
  }

  void give(std::string lines, bool end) {
    Then then;
    {
      std::lock_guard lock(mutex_);
      reading_ = false;
      then = std::exchange(then_, nullptr);
    }
    if (then) then(std::move(lines), end);
  }

  void write_record(std::string& lines, const Record& record) {
    std::uint32_t index = 0;
    for (const auto& decision : record.decisions) {
      const auto intent =
          decision.intent.empty() ? Result<Intent>(Errc::not_found, "none") : decode_intent(decision.intent);
      for (const auto& event : decision.events) {
        const std::uint32_t here = index++;
        if (record.seq == at_.seq && here < at_.index) continue;
        if (may_see(record.seq, event, intent ? &*intent : nullptr))
          write_line(lines, record, here, decision, intent ? &*intent : nullptr, event);
      }
    }
  }

  bool may_see(Seq seq, const Event& event, const Intent* intent) {
    if (actor_.rights.admin) return true;
    if (event.is<IntentRefused>()) return intent != nullptr && intent->project == actor_.project;
    const AnyId object = subject(event);
    if (!object) return false;
    if (event.is<KeypairCreated>() || event.is<KeypairDeleted>()) return object == actor_.user.as<AnyId>();
    return owner(seq, object) == actor_.project;
  }

  // As of the record, or right before it (what it deletes).
  ProjectId owner(Seq seq, AnyId object) {
    if (const auto known = owners_.find(object); known != owners_.end()) return known->second;
    ProjectId found;
    if (const auto view = api_.backend().view_at(seq)) found = owner_at(*view, object);
    if (!found && seq > 1)
      if (const auto view = api_.backend().view_at(seq - 1)) found = owner_at(*view, object);
    // Before what the history was cut to: as of there, if it still was.
    if (const Seq first = api_.backend().view().history_from(); !found && seq < first)
      if (const auto view = api_.backend().view_at(first)) found = owner_at(*view, object);
    if (owners_.size() > owners_max) owners_.clear();
    if (found) owners_.emplace(object, found);
    return found;
  }

  void write_line(std::string& lines, const Record& record, std::uint32_t index, const Decision& decision,
                  const Intent* intent, const Event& event) {
    JsonWriter json(lines);
    json.begin_object().field("seq", record.seq).field("index", index);
    json.field("at", time_micros_z(static_cast<std::uint64_t>(record.at_ms))).field("at_ms", record.at_ms);
    json.field("cause", cause_word(decision.cause));
    if (intent != nullptr) {
      json.object("intent").field("type", intent_name(intent->type())).field("id", intent->id.str());
      if (actor_.rights.admin || intent->project == actor_.project) {
        json.field("request_id", intent->request_id);
        if (!intent->global_request_id.empty()) json.field("global_request_id", intent->global_request_id);
        json.field("user", intent->user.hex()).field("project", intent->project.hex());
      }
      json.end_object();
    }
    if (decision.node && actor_.rights.admin)
      json.field("node", decision.node.str()).field("report", decision.report);
    json.key("event");
    if (actor_.rights.admin) json.raw(event_json(event));
    else json.raw(without_hosts(api_.backend().view(), event_json(event, Hosts::hidden)));
    json.end_object();
    lines.push_back('\n');
  }

  static constexpr std::size_t owners_max = 65536;

  Api& api_;
  Actor actor_;  // of the reading worker
  const std::string token_;
  Born at_;          // the next to be read: of the reading worker, or under the lock while none reads
  const Seq until_;  // 0: for ever
  std::unordered_map<AnyId, ProjectId> owners_;
  Projection::WatchId watch_ = 0;

  std::mutex mutex_;
  Then then_;
  Seq newest_ = 0;
  bool reading_ = false;
  bool gone_ = false;
};

std::optional<Born> parse_from(std::string_view text) {
  if (text.find('.') != text.npos) return Born::parse(text);
  Seq seq = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seq);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return Born{std::max<Seq>(seq, 1), 0};
}

}  // namespace

Response open_event_stream(Ask& ask, Api& api) {
  const auto from = parse_from(ask.query("from").value_or("1"));
  if (!from) ask.mistakes().add("from", "must be a seq, or SEQ.INDEX as the lines have them");
  const bool past = !ask.view().is_now();
  const bool follow = ask.flag("follow").value_or(true) && !past;
  if (auto bad = ask.bad()) return std::move(*bad);
  if (from->seq > ask.view().seq() + 1)
    return ask.error(
        400, fmt::format("from: seq {} is not there yet: the newest is {}.", from->seq, ask.view().seq()));
  const auto stream =
      std::make_shared<EventStream>(api, ask.actor(), std::string(ask.request().header("X-Auth-Token")),
                                    *from, follow ? 0 : std::max<Seq>(ask.view().seq(), 1));
  stream->begin();
  Response response(200);
  response.header("Content-Type", "application/x-ndjson").header("Cache-Control", "no-store");
  response.lines = stream;
  return response;
}

}  // namespace reprise::api
