/**
 * Makes a replica set of the members and the two users, over whatever an earlier, interrupted run has made. mongosh runs
 * it where mongo-1 listens on loopback (docker-compose.yml): a member without users lets only its own machine make one.
 */
const SET = "scriptorium";
const MEMBERS = ["mongo-1:27017", "mongo-2:27017", "mongo-3:27017"];
const ALREADY_INITIALIZED = 23;
const USER_EXISTS = 51003;
const PATIENCE_MS = 180_000;

// oxlint-disable-next-line no-restricted-globals -- a script of mongosh, which has the environment there
const { MONGO_ROOT_PASSWORD: rootPassword, MONGO_PASSWORD: password } = process.env;
const deadline = Date.now() + PATIENCE_MS;

/** Tries until it works; the last reason is the one to tell. */
function insist(what, attempt) {
  for (;;) {
    try {
      const result = attempt();
      if (result) return result;
      if (Date.now() > deadline) throw new Error(`${what}: not in time`);
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    sleep(500);
  }
}

function signIn(admin) {
  try {
    return admin.auth("root", rootPassword).ok === 1;
  } catch {
    // Nobody there yet, or another password: in the second case nothing below is allowed, and says so.
    return false;
  }
}

const first = insist("mongo-1 answers", () =>
  connect("mongodb://127.0.0.1:27017/admin?directConnection=true"),
);
if (!signIn(first)) {
  try {
    first.runCommand({
      replSetInitiate: { _id: SET, members: MEMBERS.map((host, _id) => ({ _id, host })) },
    });
  } catch (error) {
    if (error.code !== ALREADY_INITIALIZED) throw error;
  }
  insist("mongo-1 is the primary", () => first.hello().isWritablePrimary);
  first.createUser({ user: "root", pwd: rootPassword, roles: ["root"] });
}

// From here by way of the whole set: another member may be the primary by now.
const everybody = `mongodb://root:${encodeURIComponent(rootPassword)}@${MEMBERS.join(",")}/admin?replicaSet=${SET}`;
const data = insist("the set has a primary", () => connect(everybody)).getSiblingDB("scriptorium");
const rights = { pwd: password, roles: [{ role: "readWrite", db: "scriptorium" }] };
try {
  data.createUser({ user: "scriptorium", ...rights });
} catch (error) {
  if (error.code !== USER_EXISTS) throw error;
  data.updateUser("scriptorium", rights);
}
print(`The replica set ${SET} is ready.`);
