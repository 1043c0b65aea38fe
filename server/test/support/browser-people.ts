import type { Client, Person } from "@scriptorium/server/testing";
import type { Paper, Project } from "@scriptorium/shared";
import type { Page } from "playwright-core";
import type { House, Look, Seat } from "./browser.ts";

/** Ada (English, light) and Bo (Chinese, dark) at their computers. */

export const PASSWORD = "correct horse battery staple";
export const ADA: Look = { locale: "en-US", colorScheme: "light" };
export const BO: Look = { locale: "zh-CN", colorScheme: "dark" };

/** Fills the form of the sign-in or the register screen and waits for what comes after it. */
export async function fillIn(page: Page, mode: "login" | "register", username: string): Promise<void> {
  await page.getByTestId("username").fill(username);
  await page.getByTestId("password").fill(PASSWORD);
  await page.getByTestId(`submit-${mode}`).click();
  await page.getByTestId("account-menu-button").waitFor();
}

/** Signs in at an address; the client stays there. */
export async function signIn(seat: Pick<Seat, "page">, person: Person, path = "/"): Promise<void> {
  await seat.page.goto(path);
  await fillIn(seat.page, "login", person.user.username);
}

export interface Team {
  readonly ada: Person;
  readonly bo: Person;
  readonly project: Project;
  readonly paper: Paper;
  /** The name of the paper's notes. */
  readonly notes: string;
}

let teams = 0;

/** Two new accounts and a paper of Ada's that Bo may edit, by REST. */
export async function makeTeam(client: Client): Promise<Team> {
  teams += 1;
  const ada = await client.register(`Ada-${teams}`);
  const bo = await client.register(`李博-${teams}`);
  const project = await ada.createProject(`Reading group ${teams}`);
  const paper = await ada.createPaper(project.id, `Paper ${teams}`);
  await ada.addMember(project.id, bo.user.id, "editor");
  return { ada, bo, project, paper, notes: `notes:${paper.id}` };
}

export interface Together extends Team {
  readonly adaSeat: Seat;
  readonly boSeat: Seat;
}

/** A new team with the paper's notes open on both sides. */
export async function sitTogether(house: House, server: Client & { port: number }): Promise<Together> {
  const team = await makeTeam(server);
  const [adaSeat, boSeat] = await Promise.all([house.seat(server.port, ADA), house.seat(server.port, BO)]);
  await Promise.all([
    signIn(adaSeat, team.ada, `/papers/${team.paper.id}`),
    signIn(boSeat, team.bo, `/papers/${team.paper.id}`),
  ]);
  await Promise.all([adaSeat, boSeat].map(({ page }) => page.getByTestId("editor").waitFor()));
  return { ...team, adaSeat, boSeat };
}
