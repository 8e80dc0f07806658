#include "controlplane/story/cause.h"

#include "controlplane/api/timestamp.h"
#include "controlplane/story/names.h"
#include "events/print.h"

namespace reprise::story {
namespace {

using api::JsonWriter;

void write_intent(JsonWriter& json, const View& then, const Intent& intent, const Eyes& eyes) {
  json.object("intent").field("id", intent.id.str()).field("type", intent_name(intent.type()));
  if (eyes.admin || intent.project == eyes.project) {
    json.field("request_id", intent.request_id);
    if (!intent.global_request_id.empty()) json.field("global_request_id", intent.global_request_id);
    json.field("user", intent.user.hex()).field("user_name", name_of(then, intent.user.as<AnyId>()));
    json.field("project", intent.project.hex())
        .field("project_name", name_of(then, intent.project.as<AnyId>()));
    json.field("client", intent.client).field("key", intent.key);
    json.field("asked_at", api::time_micros_z(static_cast<std::uint64_t>(intent.sent_ms)));
    json.field("words", print_words(intent, eyes.admin ? labels(then) : NameOf(), eyes.hosts()));
  }
  json.end_object();
}

}  // namespace

void write_cause(JsonWriter& json, const View& then, const Record& record, const Decision& decision,
                 const Intent* intent, const Eyes& eyes) {
  json.field("seq", record.seq).field("at", api::time_micros_z(static_cast<std::uint64_t>(record.at_ms)));
  json.field("cause", wire::EnumNameCause(decision.cause));
  if (intent) write_intent(json, then, *intent, eyes);
  if (decision.cause == Cause::report && eyes.admin) {
    json.field("node", decision.node.str()).field("node_name", name_of(then, decision.node.as<AnyId>()));
    json.field("report", decision.report);
  }
}

void write_events(JsonWriter& json, const View& then, const std::vector<const Event*>& events,
                  const Eyes& eyes) {
  const NameOf label = eyes.admin ? labels(then) : NameOf();
  json.array("events");
  for (const Event* event : events)
    json.begin_object()
        .field("words", print_words(*event, label, eyes.hosts()))
        .key("event")
        .raw(event_json(*event, eyes.hosts()))
        .end_object();
  json.end_array();
}

std::optional<Intent> intent_of(const Decision& decision) {
  if (decision.cause != Cause::intent) return std::nullopt;
  auto decoded = decode_intent(decision.intent);
  return decoded ? std::optional(std::move(*decoded)) : std::nullopt;
}

}  // namespace reprise::story
