// Readers of what is imported, and folders that are wrong. Folders that MLflow and TensorBoard
// wrote: import_files_test.py, import_events_test.py.
#include "temporary_folder.hpp"
#include "tracking/event_file.hpp"
#include "tracking/event_reader.hpp"
#include "tracking/yaml.hpp"
#include "tracking/yaml_reader.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <vector>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
namespace d = detail;
namespace fs = std::filesystem;

// --- YAML ----------------------------------------------------------------------------------------

TEST(yaml_reader, reads_what_pyyaml_writes) {
  const json map = d::read_yaml(
      "a: 1\n"
      "url: file:///x#y\n"
      "none: null\n"
      "empty:\n"
      "single: 'it''s\n"
      "  one\n"
      "\n"
      "\n"
      "  two'\n"
      "double: \"\\u263a \\\n"
      "  \\ x\\ny \n"
      "  z\\t\"\n"
      "plain: bla bla\n"
      "  bla\n"
      "list:\n"
      "- x\n"
      "- 'y'\n"
      "tags:\n"
      "  ? long key\n"
      "  : 'yes'\n"
      "  deep:\n"
      "    er: {}\n"
      "'quoted: key': []  # no more\n");
  EXPECT_EQ(map, json({{"a", "1"},
                       {"url", "file:///x#y"},
                       {"none", nullptr},
                       {"empty", nullptr},
                       {"single", "it's one\n\ntwo"},
                       {"double", "\u263a  x\ny z\t"},
                       {"plain", "bla bla bla"},
                       {"list", {"x", "y"}},
                       {"tags", {{"long key", "yes"}, {"deep", {{"er", json::object()}}}}},
                       {"quoted: key", json::array()}}));
  EXPECT_EQ(d::read_yaml(""), json::object());
  EXPECT_EQ(d::read_yaml("---\r\na: b\r\n"), json({{"a", "b"}}));
  const json ours = {
      {"a", "b: c"}, {"n", "null"}, {"m", {{"x", "- y"}, {"z", " 1 "}}}, {"l", {"#"}}};
  EXPECT_EQ(d::read_yaml(d::to_yaml(ours)), ours);
}

TEST(yaml_reader, refuses_the_rest_and_names_the_line) {
  for (const std::string text :
       {"a: 1\na: 2\n", "x", "a: &b c\n", "a: !!python/object x\n", "a: |\n  x\n", "a: {b: c}\n",
        "a: 'x\n", "a: \"\\q\"\n", "a: \"\\ud800\"\n", "a: 'x' y\n", "  a: b\nc: d\n", "a: b: c\n",
        "'a'b: c\n", "? a\nb: c\n", "a: b\n   c: d\n"}) {
    SCOPED_TRACE(text);
    EXPECT_ERROR(errc::data_loss, "yaml line", d::read_yaml(text));
  }
  std::string deep;
  for (int i = 0; i < 100'000; ++i)
    deep += std::string(static_cast<std::size_t>(i % 100), ' ') + "a:\n";
  EXPECT_ERROR(errc::data_loss, "yaml line", d::read_yaml(deep));
  const json map = d::read_yaml("a: x\nb:\n  c: d\n");
  EXPECT_ERROR(errc::data_loss, "a", d::yaml_integer(map, "a"));
  EXPECT_ERROR(errc::data_loss, "b", d::yaml_text(map, "b"));
  EXPECT_ERROR(errc::data_loss, "a", d::yaml_map(map, "a"));
  EXPECT_EQ(d::yaml_map(map, "b").at("c"), "d");
}

// --- event files ---------------------------------------------------------------------------------

class event_file_imports : public testing::Test {
 protected:
  // The events of a file with these bytes: "step tag=value", or what is wrong.
  std::vector<std::string> read(const std::string& bytes) {
    const std::string path = folder_.file("events");
    write_file(path, bytes);
    d::event_file_reader reader(path);
    std::vector<std::string> out;
    for (;;) {
      try {
        const auto event = reader.next();
        if (!event) break;
        for (const d::event_value& value : event->values) {
          out.push_back(std::to_string(event->step) + " " + value.tag + "=" +
                        (value.number ? std::to_string(*value.number) : std::string("?")));
        }
      } catch (const error& e) {
        EXPECT_EQ(e.code(), errc::data_loss);
        out.push_back("damaged");
        if (!reader.can_go_on()) {
          out.push_back("lost");
          break;
        }
      }
    }
    passed_over_ = reader.passed_over();
    return out;
  }

  static std::string scalar(std::int64_t step) {
    std::string frame;
    d::append_scalar_event(frame, 1.5, step, "a", static_cast<float>(step));
    return frame;
  }

  temporary_folder folder_;
  std::uint64_t passed_over_ = 0;
};

TEST_F(event_file_imports, are_read_up_to_where_they_are_cut_short) {
  std::string head;
  d::append_version_event(head, 1);
  const std::string two = head + scalar(1) + scalar(-2);
  EXPECT_THAT(read(""), IsEmpty());
  EXPECT_THAT(read(two), ElementsAre("1 a=1.000000", "-2 a=-2.000000"));
  for (std::size_t cut = 1; cut < scalar(1).size(); ++cut) {
    EXPECT_THAT(read(two + scalar(3).substr(0, cut)), SizeIs(2)) << cut;
  }
}

TEST_F(event_file_imports, lose_only_what_is_damaged) {
  const std::string first = scalar(1);
  std::string second = scalar(2);
  second[second.size() - 6] ^= 1;  // the value
  EXPECT_THAT(read(first + second + scalar(3)),
              ElementsAre("1 a=1.000000", "damaged", "3 a=3.000000"));
  second = scalar(2);
  second[3] ^= 1;  // the length
  EXPECT_THAT(read(first + second + scalar(3)), ElementsAre("1 a=1.000000", "damaged", "lost"));
  // Checksums are right, the message is none.
  std::string odd;
  d::append_event_frame(odd, "\x0a\xff");
  EXPECT_THAT(read(odd + scalar(3)), ElementsAre("damaged", "3 a=3.000000"));
}

TEST_F(event_file_imports, with_large_events_do_not_fill_the_memory) {
  std::string large;
  d::append_event_frame(large, std::string(d::event_file_reader::largest + 1, 'x'));
  EXPECT_THAT(read(large + scalar(3)), ElementsAre("3 a=3.000000"));
  EXPECT_EQ(passed_over_, 1U);
}

// --- folders -------------------------------------------------------------------------------------

class imports : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    const fs::path file = folder_.path() / path;
    fs::create_directories(file.parent_path());
    write_file(file, text);
  }
  void put_run(const std::string& id, const std::string& more = {}) {
    put("mlruns/1/" + id + "/meta.yaml",
        "run_id: " + id +
            "\nrun_name: one\nstatus: 3\nstart_time: 5\nend_time: 6\n"
            "lifecycle_stage: active\nuser_id: me\n" +
            more);
  }

  temporary_folder folder_;
  client store_{client_options{.uri = folder_.file("store/mlflow.db")}};
};

TEST_F(imports, of_what_is_no_such_folder_are_refused) {
  EXPECT_ERROR(errc::not_found, "folder", import_file_store(folder_.path() / "none", store_));
  EXPECT_ERROR(errc::not_found, "folder", import_tensorboard(folder_.path() / "none", store_));
  fs::create_directories(folder_.path() / "empty");
  EXPECT_ERROR(errc::invalid_argument, "folder",
               import_file_store(folder_.path() / "empty", store_));
  const transfer_report report = import_tensorboard(folder_.path() / "empty", store_);
  EXPECT_EQ(report.runs, 0U);
  EXPECT_FALSE(store_.find_experiment("empty"));
}

TEST_F(imports, read_artifacts_below_the_folder_only) {
  put("secret/key", "not to be taken");
  put("mlruns/1/meta.yaml", "experiment_id: '1'\nname: e\nlifecycle_stage: active\n");
  const std::string id(32, 'a');
  put_run(id, "artifact_uri: " + (folder_.path() / "secret").string() + "\n");
  put("mlruns/1/" + id + "/metrics/m", "7 0.5 3\n");
  transfer_report report = import_file_store(folder_.path() / "mlruns", store_);
  ASSERT_THAT(report.problems, SizeIs(1));
  EXPECT_EQ(report.problems[0].code, errc::permission_denied);
  EXPECT_THAT(store_.list_artifacts(id), IsEmpty());
  EXPECT_EQ(store_.get_run(id).metrics.at("m").value, 0.5);
  EXPECT_EQ(store_.get_run(id).status, run_status::finished);
  // Nor by a link.
  fs::create_directories(folder_.path() / "mlruns/1" / id / "params");
  fs::create_symlink(folder_.path() / "secret/key", folder_.path() / "mlruns/1" / id / "params/p");
  EXPECT_THAT(import_file_store(folder_.path() / "mlruns", store_).problems, SizeIs(1));
  EXPECT_THAT(store_.get_run(id).params, IsEmpty());
  fs::remove_all(folder_.path() / "mlruns/1" / id / "params");
  fs::create_directory_symlink(folder_.path() / "secret",
                               folder_.path() / "mlruns/1" / id / "artifacts");
  report = import_file_store(folder_.path() / "mlruns", store_);
  EXPECT_THAT(report.problems, SizeIs(1));
  EXPECT_THAT(store_.list_artifacts(id), IsEmpty());
}

TEST_F(imports, into_the_store_beside_leave_artifacts_where_they_are) {
  put("mlruns/1/meta.yaml", "experiment_id: '1'\nname: e\n");
  const std::string id(32, 'a');
  put_run(id);
  put("mlruns/1/" + id + "/artifacts/a.txt", "text");
  client beside(folder_.file("mlflow.db"));
  const transfer_report report =
      import_file_store(folder_.path() / "mlruns", beside, {.files = transfer_files::all});
  EXPECT_TRUE(report.complete());
  EXPECT_EQ(report.files, 0U);
  EXPECT_EQ(beside.read_artifact(id, "a.txt"), "text");
}

TEST_F(imports, of_a_store_with_other_ids_than_its_folders_are_refused) {
  put("mlruns/1/meta.yaml", "experiment_id: '1'\nname: e\n");
  put_run(std::string(32, 'a'));
  fs::rename(folder_.path() / "mlruns/1" / std::string(32, 'a'),
             folder_.path() / "mlruns/1" / std::string(32, 'b'));
  put("mlruns/2/meta.yaml", "experiment_id: '../1'\nname: f\n");
  const transfer_report report = import_file_store(folder_.path() / "mlruns", store_);
  EXPECT_THAT(report.problems, SizeIs(2));
  EXPECT_EQ(report.runs, 0U);
}

TEST_F(imports, keep_tags_apart_that_become_one_key) {
  std::string bytes;
  for (const char* tag : {"a?", "a!", "a_", "../x", ""}) {
    d::append_scalar_event(bytes, 1.5, 1, tag, 1);
  }
  d::append_scalar_event(bytes, 1.5, 1, std::string(300, 'x'), 1);
  d::append_scalar_event(bytes, -1, 1, "no time", 1);
  put("logs/run/events.out.tfevents.1", bytes);
  for (int i = 0; i < 2; ++i) {
    const transfer_report report = import_tensorboard(folder_.path() / "logs", store_);
    EXPECT_EQ(report.points, 6U);
    EXPECT_THAT(report.problems, SizeIs(1));
    const page<run_record> runs = store_.search_runs({});
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0].name, "run");
    EXPECT_THAT(runs[0].metrics, SizeIs(6));
    EXPECT_TRUE(runs[0].metrics.contains("a_"));
    EXPECT_EQ(runs[0].start_time, 1500);
    EXPECT_EQ(store_.find_experiment("logs")->id, runs[0].experiment_id);
  }
}

}  // namespace
}  // namespace mizzen::tracking
