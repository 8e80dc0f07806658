// Where a log is, as people write it.
#include "events/log_place.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;

TEST_CASE("log place: what is right is understood, and written the same again") {
  for (const char* text : {"embedded:/var/lib/reprise/log", "embedded:log", "kafka:10.0.0.1:9092/prod",
                           "kafka:a:1,b.example:65535,[::1]:9092/my_cloud-2.x"}) {
    const auto place = parse_log_place(text);
    REQUIRE(place.ok());
    REQUIRE(to_string(*place) == text);
  }
  REQUIRE(std::get<EmbeddedPlace>(*parse_log_place("embedded:a:b/c")).dir == "a:b/c");
  REQUIRE(std::get<KafkaPlace>(*parse_log_place("kafka:a:1,b:2/c")) == KafkaPlace{"a:1,b:2", "c"});
}

TEST_CASE("log place: what is wrong is named, with what would be right") {
  const std::string long_name(201, 'x');
  const std::pair<std::string, std::string> wrong[] = {
      {"", "it is empty"},
      {"/var/lib", "begins with neither"},
      {"Kafka:a:1/c", "begins with neither"},
      {"embedded:", "folder after 'embedded:' is missing"},
      {"kafka:a:1", "cluster's name is missing"},
      {"kafka:a:1/", "name after the '/' is empty"},
      {"kafka:/c", "a broker between the commas is empty"},
      {"kafka:a:1,/c", "a broker between the commas is empty"},
      {"kafka:a/c", "broker 'a' has no port"},
      {"kafka:a:0/c", "'0' in broker 'a:0' is no port"},
      {"kafka:a:65536/c", "is no port (1 to 65535)"},
      {"kafka:a:9x/c", "is no port"},
      {"kafka::9092/c", "has no host"},
      {"kafka:a b:1/c", "is no host name"},
      {"kafka:::1:9092/c", "wants brackets"},
      {"kafka:[x]:9092/c", "is no IPv6 address"},
      {"kafka:a:1/c/d", "may only have"},
      {"kafka:a:1/über", "may only have"},
      {"kafka:a:1/" + long_name, "has 201 characters, 200 at most"},
      {std::string("embedded:a\0b", 12), "zero byte"},
  };
  for (const auto& [text, words] : wrong) {
    CAPTURE(text, words);
    const auto place = parse_log_place(text);
    REQUIRE(!place.ok());
    REQUIRE(place.error().code == Errc::invalid);
    CAPTURE(place.error().text);
    REQUIRE(place.error().text.find(words) != std::string::npos);
    REQUIRE(place.error().text.find("kafka:10.0.0.1:9092/prod") != std::string::npos);
  }
}
