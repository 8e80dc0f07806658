// Events and intents for people and programs: in words on one line, and as compact JSON (RFC 8259).
// Made from the schemas' own names, so that a new field shows without a line of code. Left out are zero
// values; ids are UUIDs, enums go by name, addresses and positions in their usual spelling; of secrets
// (password_hash, user_data_sealed) only the size is shown.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "events/codec.h"

namespace reprise {

// A label for an id, or empty: then it is shown as a UUID.
using NameOf = std::function<std::string(AnyId)>;

// Of who may not know of hosts what names one is left out (not what a text says).
enum class Hosts { shown, hidden };

// "ServerPlaced 7d…01 node=5c…02 considered=3". The subject comes first, bare.
std::string print_words(const Event& event, const NameOf& name_of = {}, Hosts hosts = Hosts::shown);
std::string print_words(const Intent& intent, const NameOf& name_of = {}, Hosts hosts = Hosts::shown);

// {"type":"ServerPlaced","id":"7d…01","node":"5c…02","considered":3}
std::string event_json(const Event& event, Hosts hosts = Hosts::shown);
// {"type":"CreateServer","intent":…,"request_id":…,"user":…,"project":…,…,"body":{…}}
std::string intent_json(const Intent& intent);

// The object that it is mainly about: its first field, if that is an id; of a refusal the object that it
// names. None: it is about the cloud itself.
AnyId subject(const Event& event);
AnyId subject(const Intent& intent);

// A JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD.
std::string json_quoted(std::string_view text);

}  // namespace reprise
