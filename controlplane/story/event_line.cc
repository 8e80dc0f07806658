#include "controlplane/story/event_line.h"

#include "controlplane/api/json_writer.h"
#include "controlplane/api/timestamp.h"
#include "events/print.h"

namespace reprise::story {

std::string event_lines(const Record& record) {
  std::string lines;
  std::uint32_t index = 0;
  for (const auto& decision : record.decisions) {
    const auto intent =
        decision.intent.empty() ? Result<Intent>(Errc::not_found, "none") : decode_intent(decision.intent);
    for (const auto& event : decision.events) {
      api::JsonWriter json(lines);
      json.begin_object().field("seq", record.seq).field("index", index++);
      json.field("at", api::time_micros_z(static_cast<std::uint64_t>(record.at_ms)))
          .field("at_ms", record.at_ms);
      json.field("cause", wire::EnumNameCause(decision.cause));
      if (intent) {
        json.object("intent").field("type", intent_name(intent->type())).field("id", intent->id.str());
        json.field("request_id", intent->request_id);
        if (!intent->global_request_id.empty()) json.field("global_request_id", intent->global_request_id);
        json.field("user", intent->user.hex())
            .field("project", intent->project.hex());
        json.end_object();
      }
      if (decision.node) json.field("node", decision.node.str()).field("report", decision.report);
      json.key("event").raw(event_json(event)).end_object();
      lines.push_back('\n');
    }
  }
  return lines;
}

}  // namespace reprise::story
