// What differs between two moments: object by object what was made, deleted or changed, in OpenStack's words,
// and by whose intent, report or deadline. Out of the stored rows and the log alone; changes nothing.
//
//   {"from":{"seq":15,"at":…},"to":{…},"objects_in_all":1,"objects":[
//     {"change":"changed","kind":"server","id":…,"name":…,"project":…,
//      "fields":[{"name":"status","from":"ACTIVE","to":"SHUTOFF"}],
//      "by":[{"seq":18,"at":…,"cause":"intent","intent":{…},"events":[{"words":…,"event":{…}}]}],"by_left_out":0}]}
//
// A made object has only "to", a deleted one only "from"; a secret is {"name":"password","secret":true}. What
// came and went in between is in neither state, so not here: that is in the events.
#pragma once

#include "controlplane/story/cause.h"
#include "controlplane/story/why.h"

namespace reprise::story {

inline constexpr std::size_t diff_objects_max = 1000;  // more are only counted
inline constexpr std::size_t diff_steps_max = 200;     // records looked at for each object: the last ones

// invalid: `from` is later than `to`.
Result<std::string> diff_json(const View& from, const View& to, const Source& source, const Eyes& eyes = {});

}  // namespace reprise::story
