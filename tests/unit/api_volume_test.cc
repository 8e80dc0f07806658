#include <fmt/format.h>

#include "tests/unit/api_cloud.h"

namespace reprise::api {
namespace {

Headers version(std::string minor) { return {{"OpenStack-API-Version", "volume 3." + minor}}; }
Headers token(const std::string& token) { return {{"X-Auth-Token", token}}; }

TEST_CASE("the volume api says which microversions it has, and keeps to them") {
  ApiCloud cloud(0);
  const auto root = cloud.ask("GET", "/volume/v3/", {}, {{"X-Auth-Token", ""}});
  CHECK(root.status() == 200);
  CHECK(root.text("versions.0.id") == "v3.0");
  CHECK(root.text("versions.0.version") == "3.42");
  CHECK(cloud.ask("GET", "/volume/").status() == 300);
  const auto base = "/volume/v3/" + cloud.project("admin");
  CHECK(cloud.ask("GET", base + "/volumes").header("OpenStack-API-Version") == "volume 3.0");
  CHECK(cloud.ask("GET", base + "/volumes", {}, version("42")).header("OpenStack-API-Version") ==
        "volume 3.42");
  CHECK(cloud.ask("GET", base + "/volumes", {}, version("43")).status() == 406);
  const auto member = cloud.rig.add_project("green");
  const auto other = cloud.ask("GET", base + "/volumes", {}, token(member));
  CHECK(other.status() == 400);
  CHECK(other.text("badRequest.message").find("Malformed request url") == 0);
}

TEST_CASE("volumes are created empty or from an image, listed, renamed and deleted") {
  ApiCloud cloud;
  const auto image = cloud.add_image("disk");
  const auto base = "/volume/v3/" + cloud.project("admin");
  const auto made = cloud.ask(
      "POST", base + "/volumes",
      R"({"volume":{"size":2,"name":"data","description":null,"volume_type":null,"availability_zone":null,"metadata":{"a":"1"},
                                  "imageRef":null,"snapshot_id":null,"source_volid":null,"consistencygroup_id":null,"backup_id":null}})");
  INFO(made.body());
  REQUIRE(made.status() == 202);
  // The answer is as of the decision or later: an agent may have been quicker.
  CHECK((made.text("volume.status") == "creating" || made.text("volume.status") == "available"));
  const auto id = made.text("volume.id");
  const auto path = base + "/volumes/" + id;
  const auto shown = cloud.until(path, "volume.status", "available");
  CHECK(shown.text("volume.size") == "2");
  CHECK(shown.text("volume.bootable") == "false");
  CHECK(shown.text("volume.volume_type") == "local");
  CHECK(shown.text("volume.metadata.a") == "1");
  CHECK(shown.text("volume.availability_zone") == "nova");
  CHECK(shown.text("volume.os-vol-host-attr:host") == "node-1@local#local");
  CHECK(shown.text("volume.attachments") == "[]");
  CHECK(cloud.ask("GET", path, {}, version("13")).text("volume.group_id") == "null");
  CHECK(cloud.ask("GET", path + "/metadata").text("metadata.a") == "1");

  const auto filled = cloud.ask("POST", base + "/volumes",
                                fmt::format(R"({{"volume":{{"size":1,"imageRef":"{}"}}}})", image));
  REQUIRE(filled.status() == 202);
  const auto boot = cloud.until(base + "/volumes/" + filled.text("volume.id"), "volume.status", "available");
  CHECK(boot.text("volume.bootable") == "true");
  CHECK(boot.text("volume.volume_image_metadata.image_name") == "disk");

  CHECK(cloud.ask("GET", base + "/volumes").size("volumes") == 2);
  CHECK(cloud.ask("GET", base + "/volumes/detail?name=data").size("volumes") == 1);
  CHECK(cloud.ask("GET", base + "/volumes/detail?status=available&bootable=true").size("volumes") == 1);
  CHECK(cloud.ask("GET", base + "/volumes/detail?metadata=%7B'a':%20'1'%7D").size("volumes") == 1);
  CHECK(cloud.ask("GET", base + "/volumes/detail?colour=red").status() == 400);
  CHECK(cloud.ask("GET", base + "/volumes?sort=size:asc").text("volumes.1.id") == id);
  const auto page = cloud.ask("GET", base + "/volumes?limit=1");
  CHECK(page.size("volumes") == 1);
  CHECK(page.text("volumes_links.0.rel") == "next");
  CHECK(
      cloud.ask("GET", base + "/volumes?limit=1&marker=" + page.text("volumes.0.id")).size("volumes_links") ==
      0);
  CHECK(cloud.ask("GET", base + "/volumes/summary", {}, version("12")).text("volume-summary.total_size") ==
        "3");

  CHECK(cloud.ask("PUT", path, R"({"volume":{"display_name":"more"}})").text("volume.name") == "more");
  CHECK(cloud.ask("POST", path + "/action", R"({"os-extend":{"new_size":4}})").status() == 501);
  CHECK(cloud.ask("POST", path + "/action", R"({"dance":{}})").status() == 400);
  CHECK(cloud.ask("DELETE", path + "?cascade=True").status() == 202);
  cloud.until_status(path, 404);
  const auto gone = cloud.ask("GET", path);
  CHECK(gone.text("itemNotFound.message") == "Volume " + id + " could not be found.");
}

TEST_CASE("a volume that cannot be is refused with the reason") {
  ApiCloud cloud;
  const auto base = "/volume/v3/" + cloud.project("admin");
  const auto refused = [&](std::string_view body, int status, std::string_view words) {
    const auto answer = cloud.ask("POST", base + "/volumes", body);
    INFO(body << "\n" << answer.body());
    CHECK(answer.status() == status);
    CHECK(answer.body().find(words) != std::string::npos);
  };
  refused(R"({"volume":{}})", 400, "volume.size: is required");
  refused(R"({"volume":{"size":0}})", 400, "volume.size: must be a whole number from 1 to 65536");
  refused(R"({"volume":{"size":1,"name":")" + std::string(256, 'n') + R"("}})", 400, "volume.name");
  refused(R"({"volume":{"size":1,"volume_type":"gold"}})", 400,
          "Volume type with name gold could not be found");
  refused(R"({"volume":{"size":1,"snapshot_id":"x"}})", 400, "volume.snapshot_id");
  refused(R"({"volume":{"size":1,"multiattach":true}})", 400, "volume.multiattach");
  refused(R"({"volume":{"size":1,"colour":"red"}})", 400, "volume.colour: is not a field");
  refused(R"({"volume":{"size":1,"availability_zone":"mars"}})", 400, "Availability zone 'mars' is invalid");
  refused(R"({"volume":{"size":1,"imageRef":"5f1c1a7e-7d4f-4f63-9d1e-1f9a1e2a3b4c"}})", 400,
          "could not be found");
  CHECK(
      cloud.ask("PUT", base + "/os-quota-sets/" + cloud.project("admin"), R"({"quota_set":{"gigabytes":5}})")
          .status() == 200);
  refused(R"({"volume":{"size":6}})", 413, "gigabytes");
  CHECK(cloud.ask("GET", base + "/volumes").size("volumes") == 0);
}

TEST_CASE("another project's volumes are not there") {
  ApiCloud cloud;
  const auto base = "/volume/v3/" + cloud.project("admin");
  const auto id = cloud.ask("POST", base + "/volumes", R"({"volume":{"size":1}})").text("volume.id");
  cloud.until(base + "/volumes/" + id, "volume.status", "available");
  const auto member = cloud.rig.add_project("green");
  const auto theirs = "/volume/v3/" + cloud.project("green");
  CHECK(cloud.ask("GET", theirs + "/volumes/" + id, {}, token(member)).status() == 404);
  CHECK(cloud.ask("DELETE", theirs + "/volumes/" + id, {}, token(member)).status() == 404);
  CHECK(cloud.ask("PUT", theirs + "/volumes/" + id, R"({"volume":{"name":"x"}})", token(member)).status() ==
        404);
  CHECK(cloud.ask("GET", theirs + "/volumes?all_tenants=1", {}, token(member)).size("volumes") == 0);
  const auto own =
      cloud.ask("POST", theirs + "/volumes", R"({"volume":{"size":1}})", token(member)).text("volume.id");
  cloud.until(theirs + "/volumes/" + own, "volume.status", "available", token(member));
  CHECK(cloud.ask("GET", base + "/volumes").size("volumes") == 1);
  CHECK(cloud.ask("GET", base + "/volumes?all_tenants=1").size("volumes") == 2);
  CHECK(cloud.ask("GET", theirs + "/os-services", {}, token(member)).status() == 403);
}

TEST_CASE("attachments, types, limits and what is always empty") {
  ApiCloud cloud;
  const auto server = cloud.add_server("s");
  const auto base = "/volume/v3/" + cloud.project("admin");
  const auto id = cloud.ask("POST", base + "/volumes", R"({"volume":{"size":1}})").text("volume.id");
  cloud.until(base + "/volumes/" + id, "volume.status", "available");
  cloud.ask("POST", "/compute/v2.1/servers/" + server + "/os-volume_attachments",
            fmt::format(R"({{"volumeAttachment":{{"volumeId":"{}"}}}})", id));
  const auto used = cloud.until(base + "/volumes/" + id, "volume.status", "in-use");
  const auto attachment = used.text("volume.attachments.0.attachment_id");
  CHECK(cloud.ask("GET", base + "/attachments").status() == 404);
  const auto all = cloud.ask("GET", base + "/attachments", {}, version("27"));
  CHECK(all.text("attachments.0.id") == attachment);
  CHECK(
      cloud.ask("GET", base + "/attachments/" + attachment, {}, version("27")).text("attachment.instance") ==
      server);
  CHECK(cloud.ask("POST", base + "/attachments", "{}", version("27")).status() == 501);

  CHECK(cloud.ask("GET", base + "/types").text("volume_types.0.name") == "local");
  CHECK(cloud.ask("GET", base + "/types/default").status() == 200);
  CHECK(cloud.ask("GET", base + "/types/gold").status() == 404);
  CHECK(cloud.ask("POST", base + "/types", "{}").status() == 501);
  CHECK(cloud.ask("GET", base + "/limits").text("limits.absolute.totalGigabytesUsed") == "1");
  CHECK(cloud.ask("GET", base + "/os-quota-sets/" + cloud.project("admin") + "?usage=True")
            .text("quota_set.volumes.in_use") == "1");
  CHECK(cloud.ask("GET", base + "/os-services").text("services.0.binary") == "cinder-volume");
  CHECK(cloud.ask("GET", base + "/os-availability-zone").text("availabilityZoneInfo.0.zoneName") == "nova");
  CHECK(cloud.ask("GET", base + "/snapshots/detail").size("snapshots") == 0);
}

}  // namespace
}  // namespace reprise::api
