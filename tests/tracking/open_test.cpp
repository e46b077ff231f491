// Opening a store: what is made, and what is refused with which words.
#include "temporary_folder.hpp"
#include "tracking/schema.hpp"
#include "tracking/uri.hpp"

#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <unistd.h>
#include <vector>

namespace mizzen::tracking {
namespace {

using testing::HasSubstr;

class open_store : public testing::Test {
 protected:
  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
};

TEST_F(open_store, makes_mlflow_tables_and_its_own) {
  const client c({.uri = db_});
  EXPECT_EQ(c.uri(), "sqlite:///" + db_);
  const auto header = detail::read_schema_header(detail::mlflow_schema_sql);
  EXPECT_EQ(sql(db_, "SELECT version_num FROM alembic_version"), header.revision);
  EXPECT_EQ(sql(db_,
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE "
                "'mizzen_%'"),
            "65");
  EXPECT_EQ(sql(db_, "SELECT version FROM mizzen_schema"), "1");
  EXPECT_EQ(sql(db_, "PRAGMA journal_mode"), "wal");
  const auto all = c.list_experiments();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].id, "0");
  EXPECT_EQ(all[0].name, "Default");
  EXPECT_EQ(all[0].artifact_location, folder_.file("mlruns/0"));
}

TEST_F(open_store, makes_the_folders_above_it) {
  const client c("sqlite:///" + folder_.file("a/b/mlflow.db"));
  EXPECT_TRUE(std::filesystem::is_regular_file(folder_.path() / "a/b/mlflow.db"));
}

TEST_F(open_store, keeps_what_is_there) {
  std::string id;
  {
    client c({.uri = db_});
    id = c.start_run("digits").id();
  }
  const client again({.uri = db_, .create = false});
  EXPECT_EQ(again.get_run(id).status, run_status::finished);
}

TEST_F(open_store, takes_the_environments_uri_when_none_is_given) {
  const char* before = std::getenv("MLFLOW_TRACKING_URI");
  const std::string old = before != nullptr ? before : "";
  setenv("MLFLOW_TRACKING_URI", ("sqlite:///" + db_).c_str(), 1);
  EXPECT_EQ(client{}.uri(), "sqlite:///" + db_);
  setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000", 1);
  EXPECT_EQ(client{}.uri(), "http://127.0.0.1:5000");
  unsetenv("MLFLOW_TRACKING_URI");
  EXPECT_EQ(detail::store_path(""), std::filesystem::current_path() / "mlflow.db");
  if (before != nullptr) setenv("MLFLOW_TRACKING_URI", old.c_str(), 1);
}

TEST_F(open_store, refuses_uris_it_cannot_keep_its_promise_for) {
  EXPECT_ERROR(errc::invalid_argument, "tracking uri", client("sqlite://mlflow.db"));
  EXPECT_ERROR(errc::invalid_argument, "tracking uri", client("sqlite:///:memory:"));
  EXPECT_ERROR(errc::invalid_argument, "tracking uri", client("sqlite:///"));
  EXPECT_ERROR(errc::invalid_argument, "tracking uri", client("sqlite:///a.db?mode=ro"));
  EXPECT_ERROR(errc::unimplemented, "tracking uri", client("postgresql://host/db"));
  EXPECT_ERROR(errc::unimplemented, "tracking uri", client("databricks://profile"));
}

TEST_F(open_store, says_when_there_is_none) {
  EXPECT_ERROR(errc::not_found, db_, client({.uri = db_, .create = false}));
  EXPECT_FALSE(std::filesystem::exists(db_));
  write_file(db_, "");
  EXPECT_ERROR(errc::not_found, db_, client({.uri = db_, .create = false}));
}

TEST_F(open_store, refuses_a_folder) {
  EXPECT_ERROR(errc::failed_precondition, folder_.path().string(),
               client({.uri = folder_.path().string()}));
}

TEST_F(open_store, refuses_what_is_not_a_database) {
  write_file(db_, std::string(8192, 'x'));
  EXPECT_ERROR(errc::data_loss, db_, client({.uri = db_}));
  EXPECT_EQ(read_file(db_), std::string(8192, 'x'));
}

TEST_F(open_store, refuses_a_damaged_database) {
  {
    client c({.uri = db_});
  }
  std::string bytes = read_file(db_);
  ASSERT_GT(bytes.size(), 8192U);
  // The root of sqlite_master, behind the file's header, which stays good.
  std::fill(bytes.begin() + 100, bytes.begin() + 4096, '\x5a');
  write_file(db_, bytes);
  EXPECT_ERROR(errc::data_loss, db_, client({.uri = db_}));
}

TEST_F(open_store, refuses_a_truncated_database) {
  {
    client c({.uri = db_});
  }
  std::filesystem::resize_file(db_, 4096 * 3);
  EXPECT_ERROR(errc::data_loss, db_, {
    client c({.uri = db_});
    c.start_run("digits");
  });
}

TEST_F(open_store, refuses_another_programs_database) {
  sql(db_, "CREATE TABLE customers (id INTEGER)");
  EXPECT_ERROR(errc::failed_precondition, db_, client({.uri = db_}));
  EXPECT_EQ(sql(db_, "SELECT count(*) FROM sqlite_master"), "1");
}

TEST_F(open_store, names_missing_tables) {
  {
    client c({.uri = db_});
  }
  sql(db_, "DROP TABLE latest_metrics");
  const auto failure = error_of([&] { client({.uri = db_}); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->code(), errc::data_loss);
  EXPECT_THAT(failure->what(), HasSubstr("latest_metrics"));
}

TEST_F(open_store, names_both_revisions_and_the_way_out) {
  {
    client c({.uri = db_});
  }
  const auto header = detail::read_schema_header(detail::mlflow_schema_sql);
  ASSERT_FALSE(header.older.empty());
  sql(db_, "UPDATE alembic_version SET version_num = '" + header.older.front() + "'");
  auto failure = error_of([&] { client({.uri = db_}); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->code(), errc::failed_precondition);
  EXPECT_THAT(failure->what(), HasSubstr(header.older.front()));
  EXPECT_THAT(failure->what(), HasSubstr(header.revision));
  EXPECT_THAT(failure->what(), HasSubstr("mlflow db upgrade sqlite:///" + db_));

  sql(db_, "UPDATE alembic_version SET version_num = 'fedcba987654'");
  failure = error_of([&] { client({.uri = db_}); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->code(), errc::failed_precondition);
  EXPECT_THAT(failure->what(), HasSubstr("fedcba987654"));
  EXPECT_THAT(failure->what(), HasSubstr("newer"));
}

TEST_F(open_store, refuses_newer_tables_of_its_own) {
  {
    client c({.uri = db_});
  }
  sql(db_, "UPDATE mizzen_schema SET version = 2");
  EXPECT_ERROR(errc::failed_precondition, db_, client({.uri = db_}));
}

// As another user where the tests run as root, whom permissions do not stop.
TEST_F(open_store, says_when_it_is_read_only) {
  {
    client c({.uri = db_});
  }
  std::filesystem::permissions(db_, std::filesystem::perms(0444));
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0555));
  const bool root = geteuid() == 0;
  if (root) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  const auto failure = error_of([&] { client({.uri = db_}); });
  const auto beside = error_of([&] { client({.uri = folder_.file("new/mlflow.db")}); });
  if (root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  ASSERT_TRUE(failure);
  EXPECT_EQ(to_string(failure->code()), to_string(errc::permission_denied)) << failure->what();
  ASSERT_TRUE(beside);
  EXPECT_EQ(to_string(beside->code()), to_string(errc::permission_denied)) << beside->what();
}

TEST_F(open_store, is_made_once_by_many_at_once) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      client c({.uri = db_});
      c.get_or_create_experiment("shared");
    });
  }
  for (std::thread& thread : threads) thread.join();
  const client c({.uri = db_});
  EXPECT_EQ(c.list_experiments().size(), 2U);
}

TEST_F(open_store, keeps_artifacts_where_it_is_told) {
  client c({.uri = db_, .artifact_root = folder_.file("elsewhere") + "/"});
  EXPECT_EQ(c.create_experiment("a").artifact_location, folder_.file("elsewhere/1"));
  EXPECT_EQ(c.create_experiment("b", {.artifact_location = "gs://bucket/x"}).artifact_location,
            "gs://bucket/x");
  EXPECT_ERROR(errc::invalid_argument, "artifact location",
               c.create_experiment("c", {.artifact_location = "runs:/x/y"}));
  auto run = c.start_run("b");
  EXPECT_ERROR(errc::unimplemented, "gs://bucket/x", run.log_text("x", "x.txt"));
}

TEST(artifact_location, tells_local_from_remote) {
  EXPECT_EQ(detail::local_folder("/a/b"), "/a/b");
  EXPECT_EQ(detail::local_folder("file:///a/b%20c"), "/a/b c");
  EXPECT_EQ(detail::local_folder("file:/a/b"), "/a/b");
  EXPECT_EQ(detail::local_folder("file://localhost/a"), "/a");
  EXPECT_FALSE(detail::local_folder("file://host/a"));
  EXPECT_FALSE(detail::local_folder("mlflow-artifacts:/1/x"));
  EXPECT_EQ(detail::append_location("s3://b/x/", "1"), "s3://b/x/1");
}

}  // namespace
}  // namespace mizzen::tracking
