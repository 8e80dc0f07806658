// Who or what made a decision, and what came of it, as JSON fields: what `why` and `diff` tell of a record.
#pragma once

#include <vector>

#include "controlplane/api/json_writer.h"
#include "events/print.h"
#include "projections/view.h"

namespace reprise::story {

// Who looks. An admin sees everything; others what is their project's, and their own key pairs.
struct Eyes {
  bool admin = true;
  ProjectId project;
  UserId user;
  Hosts hosts() const { return admin ? Hosts::shown : Hosts::hidden; }
};

// seq, at, cause; of an intent who asked what; of a report which node's. `then`: the view at the record.
void write_cause(api::JsonWriter& json, const View& then, const Record& record, const Decision& decision,
                 const Intent* intent, const Eyes& eyes = {});
// "events": each in words and as JSON. Names of what they refer to are for admins.
void write_events(api::JsonWriter& json, const View& then, const std::vector<const Event*>& events,
                  const Eyes& eyes = {});

// The intent of a decision, if there was one.
std::optional<Intent> intent_of(const Decision& decision);

}  // namespace reprise::story
