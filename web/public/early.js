// Sets the chosen theme and language on <html> before anything is painted. The keys are those of src/preferences.ts.
{
  const root = document.documentElement;
  const theme = localStorage.getItem("scriptorium.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const chosen = localStorage.getItem("scriptorium.locale");
  const zh = chosen ? chosen === "zh" : navigator.language.toLowerCase().startsWith("zh");
  root.lang = zh ? "zh-CN" : "en";
}
