// Everything stands: fill the page.
const given = new URLSearchParams(location.hash.slice(1)).get("key");
if (given) {
  $("key").value = given;
  history.replaceState(null, "", location.pathname); // out of the address bar and its history
}
addReply();
addReply();
translate();
