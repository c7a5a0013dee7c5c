import { setKey } from "./api.js";
import { followJobs, offerJobs } from "./jobs.js";
import { followFiles } from "./many.js";
import { followModels, showModels } from "./models.js";
import { followText } from "./one.js";
import { followStatus } from "./status.js";
import { $, toggle } from "./view.js";

toggle($("key-button"), $("key-form"), $("key"));
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key").value);
  $("key-form").hidden = true;
  $("key-button").setAttribute("aria-expanded", "false");
  $("key-button").focus();
});
followText();
followFiles();
followJobs();
followModels();
followStatus((info) => {
  offerJobs(info);
  showModels();
});
