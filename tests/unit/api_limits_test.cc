// What is not possible is refused when it is asked for, with how much is: not accepted and failed later.
#include <fmt/format.h>

#include "tests/unit/api_cloud.h"
#include "tests/unit/image_samples.h"

namespace reprise::api {
namespace {

TEST_CASE("limits of a server are said before, and how many are possible") {
  ApiCloud cloud;
  const auto network = cloud.add_network();
  const auto server = cloud.add_server("s");
  const auto project = cloud.project("admin");
  const auto attachments = "/compute/v2.1/servers/" + server + "/os-volume_attachments";
  std::vector<std::string> volumes;
  for (std::size_t i = 0; i <= volumes_per_server_max; ++i)
    volumes.push_back(cloud.ask("POST", "/volume/v3/" + project + "/volumes", R"({"volume":{"size":1}})").text("volume.id"));
  const auto attach = [&](const std::string& volume) {
    cloud.until("/volume/v3/" + project + "/volumes/" + volume, "volume.status", "available");
    return cloud.ask("POST", attachments, fmt::format(R"({{"volumeAttachment":{{"volumeId":"{}"}}}})", volume));
  };
  for (std::size_t i = 0; i < volumes_per_server_max; ++i) {
    const auto attached = attach(volumes[i]);
    INFO(attached.body());
    REQUIRE(attached.status() == 200);
    CHECK(attached.text("volumeAttachment.device") == std::string("/dev/vd") + static_cast<char>('b' + i));
  }
  const auto over = attach(volumes.back());
  CHECK(over.status() == 403);
  CHECK(over.text("forbidden.message").starts_with("The maximum allowed number of disk devices (25) to attach to a single instance has been "
                                                   "exceeded."));
  // One that goes makes room for one.
  cloud.until("/volume/v3/" + project + "/volumes/" + volumes[3], "volume.status", "in-use");
  CHECK(cloud.ask("DELETE", attachments + "/" + volumes[3]).status() == 202);
  CHECK(attach(volumes[3]).text("volumeAttachment.device") == "/dev/vde");

  std::string nics;
  for (int i = 0; i < 17; ++i) nics += fmt::format(R"({}{{"uuid":"{}"}})", i ? "," : "", network);
  const auto wide = cloud.ask("POST", "/compute/v2.1/servers",
                              fmt::format(R"({{"server":{{"name":"wide","flavorRef":"{}","imageRef":"{}","networks":[{}]}}}})", cloud.flavor,
                                          cloud.image, nics));
  CHECK(wide.status() == 400);
  CHECK(wide.body().find("at most 16") != std::string::npos);
}

TEST_CASE("no disk is promised of an image that no node can make one of") {
  ApiCloud cloud(0);
  const auto flavor = cloud.add_flavor();
  const auto volumes = "/volume/v3/" + cloud.project("admin") + "/volumes";
  for (const char* format : {"vmdk", "vdi", "vhd", "iso", "ami", "aki", "ari"}) {
    INFO(format);
    const auto id = cloud.add_image(format, testing::image_sample(format), "public", format);
    const auto server = cloud.ask("POST", "/compute/v2.1/servers",
                                  fmt::format(R"({{"server":{{"name":"s","flavorRef":"{}","imageRef":"{}"}}}})", flavor, id));
    CHECK(server.status() == 400);
    CHECK(server.body().find(format) != std::string::npos);
    const auto volume = cloud.ask("POST", volumes, fmt::format(R"({{"volume":{{"size":1,"imageRef":"{}"}}}})", id));
    CHECK(volume.status() == 400);
    CHECK(volume.body().find("qemu-img convert") != std::string::npos);
  }
}

TEST_CASE("an image that somebody waits for is not deleted, and who it is is said") {
  ApiCloud cloud;
  const auto flavor = cloud.add_flavor();
  const auto image = cloud.add_image();
  const auto kernel = cloud.add_image("kernel"), ramdisk = cloud.add_image("ramdisk");
  const auto base = "/volume/v3/" + cloud.project("admin");
  const auto properties = fmt::format(
      R"([{{"op":"add","path":"/kernel_id","value":"{}"}},{{"op":"add","path":"/ramdisk_id","value":"{}"}}])",
      kernel, ramdisk);
  const auto patched = cloud.ask("PATCH", "/image/v2/images/" + image, properties,
                                 {{"Content-Type", "application/openstack-images-v2.1-json-patch"}});
  CHECK(patched.status() == 200);
  cloud.stop_agents();  // what is asked for now waits
  const auto server =
      cloud.ask("POST", "/compute/v2.1/servers",
                fmt::format(R"({{"server":{{"name":"s","flavorRef":"{}","imageRef":"{}"}}}})", flavor, image))
          .text("server.id");
  const auto refused = [&](const std::string& id, const std::string& words) {
    const auto answer = cloud.ask("DELETE", "/image/v2/images/" + id, {}, {{"Accept", "application/json"}});
    INFO(answer.body());
    CHECK(answer.status() == 409);
    CHECK(answer.body().find("could not be deleted because it is in use: ") != std::string::npos);
    CHECK(answer.body().find(words) != std::string::npos);
  };
  refused(image, "the disk of server " + server + " is being made of it");
  refused(kernel, "server " + server + " starts with it as its kernel");
  refused(ramdisk, "server " + server + " starts with it as its ramdisk");
  const auto other = cloud.add_image("other");
  const auto volume = cloud.ask("POST", base + "/volumes",
                                fmt::format(R"({{"volume":{{"size":1,"imageRef":"{}"}}}})", other))
                          .text("volume.id");
  refused(other, "volume " + volume + " is being made of it");
  CHECK(cloud.ask("DELETE", base + "/volumes/" + volume).status() == 400);  // cinder waits for it too
}

}  // namespace
}  // namespace reprise::api
